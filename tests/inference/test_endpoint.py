import base64
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from addressvlm.dataset.labelcalls import Ask, NoAnswer, Reply
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.experiments.labelserver import (
    Answer,
    Faults,
    LabelServer,
    completion,
    garbage,
    serving,
    text_parts,
)
from addressvlm.imagery.opening import save_jpeg
from addressvlm.inference.endpoint import Endpoint

FULL_HINT = (
    'Hint: {"variant": "graft", "levels": ["district", "street"], "city": "Gridville", '
    '"district": "Midtown", "street": "2nd Street"}'
)
SECRET = "sk-very-secret"  # not a real one
HINT = 'Hint: {"city": "Gridville"}'


class Scripted(LabelServer):
    """A server that answers as a test says, and always the same."""

    def __init__(self, answer: Answer):
        super().__init__()
        self.answer = answer

    def respond(self, body: Mapping[str, Any]) -> Answer:
        return self.answer


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    for name in ("map", "photo"):
        save_jpeg(Image.new("RGB", (8, 8), "green"), tmp_path / f"{name}.jpg")
    images = (tmp_path / "map.jpg", tmp_path / "photo.jpg")
    return Ask(images, "Look at both.", HINT, temperature=0.2, seed=7, max_tokens=50)


def asked(answer: Answer, ask: Ask, **settings: Any) -> tuple[Reply | NoAnswer, LabelServer]:
    with serving(Scripted(answer)) as server:
        (reply,) = Endpoint(server.url, "parrot", **settings).open()([ask])
        return reply, server


def error(message: str, **more: str) -> str:
    return json.dumps({"error": {"message": message, **more}})


def test_instructions_come_first_then_the_pictures_and_the_hint_last(ask: Ask) -> None:
    reply, server = asked(Answer("label", body=completion("so it is")), ask)
    assert reply == Reply("so it is", cut=False, prompt_tokens=900, completion_tokens=100)
    (request,) = server.log.requests
    parts = request["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "image_url", "text"]
    assert text_parts(request) == ["Look at both.", HINT]
    sent = parts[1]["image_url"]["url"].removeprefix("data:image/jpeg;base64,")
    assert base64.b64decode(sent) == ask.images[0].read_bytes()
    assert (request["model"], request["seed"], request["max_tokens"]) == ("parrot", 7, 50)


def test_an_answer_that_was_cut_off_says_so(ask: Ask) -> None:
    reply, _ = asked(Answer("label", body=completion("so it", "length")), ask)
    assert isinstance(reply, Reply)
    assert reply.cut


def test_extra_settings_go_into_the_request(ask: Ask) -> None:
    _, server = asked(Answer("label", body=completion("x")), ask, extra={"top_k": 5})
    assert server.log.requests[0]["top_k"] == 5


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer("x", body=garbage("page")), "web_page", "usually ends in /v1"),
        (Answer("x", body=garbage("torn")), "garbage", "no chat completion"),
        (Answer("x", body=garbage("other")), "garbage", "ok"),
        (Answer("x", body='{"choices": [{"message": {"content": [1]}}]}'), "garbage", "no chat completion"),
        (Answer("x", body="[1, 2]"), "garbage", "no chat completion"),
        (Answer("x", 500, "<html>oh dear"), "server_error", "500: a web page"),
        (Answer("x", 503, error("loading")), "server_error", "loading"),
        (Answer("x", 429, error("slow down")), "rate_limit", "slow down"),
        (Answer("x", 400, error("too many pictures")), "bad_request", "too many pictures"),
        (Answer("x", hang=True, wait_s=5), "timeout", "within 0.3 s"),
    ],
)
def test_a_failure_that_may_pass_is_told_by_its_kind(ask: Ask, answer: Answer, kind: str, words: str) -> None:
    reply, _ = asked(answer, ask, timeout_s=0.3)
    assert isinstance(reply, NoAnswer)
    assert reply.kind == kind
    assert words in reply.message


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After-Ms": "1500"}, 1.5),
        ({"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}, 600.0),
        ({"Retry-After": "Sat, 01 Jan 2000 00:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone_is_heard(
    ask: Ask, headers: dict[str, str], wait_s: float
) -> None:
    reply, _ = asked(Answer("x", 429, error("slow down"), headers), ask)
    assert isinstance(reply, NoAnswer)
    assert reply.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer("x", 401, error("bad key")), "refuses the key .401: bad key.; name the variable"),
        (Answer("x", 403, "<html>no"), "refuses the key .403: a web page."),
        (Answer("x", 402, error("pay first")), "no money left"),
        (Answer("x", 429, error("over quota", code="insufficient_quota")), "no money left"),
        (Answer("x", 404, error("The model `x` does not exist.")), "has no model 'parrot'.*it has parrot"),
        (Answer("x", 404, '{"detail": "Not Found"}'), "/chat/completions does not exist .404.*ends in /v1"),
        (Answer("x", 405, "<html>no"), "does not exist .405."),
    ],
)
def test_what_no_further_call_can_get_past_is_an_error(ask: Ask, answer: Answer, words: str) -> None:
    with pytest.raises(AddressVLMError, match=words):
        asked(answer, ask)


def test_a_server_that_is_not_there_is_a_failure_of_connection(ask: Ask) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (reply,) = Endpoint(f"http://127.0.0.1:{port}/v1", "parrot").open()([ask])
    assert isinstance(reply, NoAnswer)
    assert reply.kind == "connection"
    assert "Connection refused" in reply.message


class Choosy(LabelServer):
    """As some hosted ones: it wants another word for max_tokens, and no temperature."""

    def respond(self, body: Mapping[str, Any]) -> Answer:
        if "max_tokens" in body:
            told = "Unsupported parameter: use 'max_completion_tokens' instead."
            return Answer("x", 400, error(told, param="max_tokens"))
        if "temperature" in body:
            return Answer("x", 400, error("Unsupported value", param="temperature"))
        return Answer("label", body=completion("fine"))


def test_settings_that_a_server_refuses_are_left_out_from_then_on(ask: Ask) -> None:
    with serving(Choosy()) as server:
        describe = Endpoint(server.url, "parrot").open()
        replies = [*describe([ask]), *describe([ask])]
    assert [reply.text for reply in replies if isinstance(reply, Reply)] == ["fine", "fine"]
    assert server.log.calls == 4
    assert server.log.requests[3]["max_completion_tokens"] == 50
    assert "temperature" not in server.log.requests[3]


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("LABEL_KEY", SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody-else")
    return iter(["LABEL_KEY"])


def test_the_key_is_sent_only_where_its_variable_is_named(ask: Ask, key: Iterator[str]) -> None:
    good = Answer("label", body=completion("x"))
    _, named = asked(good, ask, key_variable=next(key))
    assert named.log.headers["authorization"] == f"Bearer {SECRET}"
    _, unnamed = asked(good, ask)
    assert "somebody" not in str(unnamed.log.headers)


def test_a_refused_key_is_not_repeated_to_the_user(ask: Ask, key: Iterator[str]) -> None:
    with pytest.raises(AddressVLMError, match="check the key in LABEL_KEY") as refused:
        asked(Answer("x", 401, error("bad key")), ask, key_variable=next(key))
    assert SECRET not in str(refused.value)


def test_a_key_is_not_sent_unencrypted_over_a_network(key: Iterator[str]) -> None:
    with pytest.raises(UsageError, match="unencrypted"):
        Endpoint("http://example.org/v1", "parrot", next(key))


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "https://me:pw@host/v1", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        Endpoint(url, "parrot")


def test_a_variable_that_is_not_set_is_told() -> None:
    with pytest.raises(UsageError, match="NOBODY_SET_THIS is not set"):
        Endpoint("https://host/v1", "parrot", "NOBODY_SET_THIS")


def test_a_picture_that_is_gone_is_a_failure_of_its_sample(ask: Ask) -> None:
    ask.images[0].unlink()
    reply, server = asked(Answer("label", body=completion("x")), ask)
    assert isinstance(reply, NoAnswer)
    assert reply.kind == "picture"
    assert server.log.calls == 0


def test_the_faulty_server_keeps_its_shares(ask: Ask) -> None:
    server = LabelServer(Faults(timeouts=0.2, rate_limits=0.1, garbage=0.05, seed=3))
    body = {"messages": [{"content": [{"type": "text", "text": "x"}, {"type": "text", "text": FULL_HINT}]}]}
    sorts = [server.respond(body).sort.partition(":")[0] for _ in range(4000)]
    server.server_close()
    shares = {sort: sorts.count(sort) / 4000 for sort in set(sorts)}
    expected = {"timeout": 0.2, "rate_limit": 0.1, "garbage": 0.05, "label": 0.65}
    assert shares == pytest.approx(expected, abs=0.03)
