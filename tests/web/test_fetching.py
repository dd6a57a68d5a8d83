import time

import pytest
from loopback import Reply, serving

from addressvlm.errors import UsageError
from addressvlm.fetching import Fetcher, checked_url, require_secrecy


def fetcher(**options: float) -> Fetcher:
    return Fetcher(**{"per_second": 1000.0, "backoff_s": 0.001, **options})  # type: ignore[arg-type]


def test_an_answer_has_status_kind_and_body() -> None:
    with serving(lambda path: Reply(body=b"hello", kind="text/plain; charset=utf-8")) as server:
        answer = fetcher().get(f"{server.address}/x")
    assert (answer.status, answer.kind, answer.body) == (200, "text/plain", b"hello")
    assert server.agents[0].startswith("addressvlm/")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(status: int) -> None:
    with serving(lambda path: Reply(status if len(server.asked) < 3 else 200)) as server:
        assert fetcher().get(server.address).status == 200
    assert len(server.asked) == 3


def test_patience_ends() -> None:
    with serving(lambda path: Reply(500)) as server:
        assert fetcher(tries=3).get(server.address).trouble == "answers 500"
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [403, 404])
def test_what_will_not_change_is_not_asked_again(status: int) -> None:
    with serving(lambda path: Reply(status)) as server:
        assert fetcher().get(server.address).status == status
    assert len(server.asked) == 1


def test_the_server_says_how_long_to_wait() -> None:
    later = Reply(429, headers={"Retry-After": "1"})
    with serving(lambda path: later if len(server.asked) < 2 else Reply()) as server:
        begun = time.monotonic()
        assert fetcher().get(server.address).status == 200
    assert time.monotonic() - begun >= 1.0


def test_requests_keep_their_distance() -> None:
    with serving(lambda path: Reply()) as server:
        polite = fetcher(per_second=20.0)
        begun = time.monotonic()
        for _ in range(5):
            polite.get(server.address)
    assert time.monotonic() - begun >= 4 / 20


def test_redirections_are_not_followed() -> None:
    with serving(lambda path: Reply(302, headers={"Location": "/other"})) as server:
        assert fetcher().get(f"{server.address}/?key=secret").status == 302
    assert server.asked == ["/?key=secret"]


def test_a_server_that_keeps_silent_is_given_up() -> None:
    with serving(lambda path: Reply(stall_s=5)) as server:
        answer = fetcher(timeout_s=0.1, tries=2).get(server.address)
    assert (answer.status, answer.trouble) == (0, "does not answer within 0.1 s")


def test_nobody_there_is_told() -> None:
    with serving(lambda path: Reply()) as server:
        pass
    assert fetcher(tries=2).get(server.address).trouble == "cannot be reached"


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    with serving(lambda path: Reply(body=b"x" * 1000)) as server:
        answer = fetcher(most_bytes=100, tries=1).get(server.address)
    assert answer.trouble == "answers with more than 100 bytes"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "https://", "tiles", "http://h:99999/"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="web address"):
        checked_url(url)


def test_passwords_do_not_belong_into_an_address() -> None:
    with pytest.raises(UsageError) as error:
        checked_url("https://me:hunter2@h/x")
    assert "hunter2" not in str(error.value)


def test_a_key_goes_by_https_only() -> None:
    require_secrecy("https://tiles.example/{key}")
    require_secrecy("http://127.0.0.1:8000/{key}")
    with pytest.raises(UsageError, match="not sent to tiles.example by http"):
        require_secrecy("http://tiles.example/{key}")
