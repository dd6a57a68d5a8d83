import logging
from pathlib import Path

import pytest
from loopback import Reply, png, serving

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.imagery.webtiles import KEY, WebAccess, WebTiles, checked_template

PATH = "/{z}/{x}/{y}.png"


def tiles(address: str, cache: Path, **options: object) -> WebTiles:
    quick = {"per_second": 1000.0, "tries": 2, "backoff_s": 0.001, "cache": cache, **options}
    return WebTiles(address, WebAccess(**quick))  # type: ignore[arg-type]


def test_a_tile_is_asked_for_once(tmp_path: Path) -> None:
    with serving(lambda path: Reply(body=png())) as server:
        source = tiles(server.address + PATH, tmp_path)
        assert source.has((17, 5, 7))
        assert source.read((17, 5, 7)) == png()
        again = tiles(server.address + PATH, tmp_path)
        assert again.read((17, 5, 7)) == png()
    assert server.asked == ["/17/5/7.png"]
    assert (source.tile_px, list(source.zooms), source.ending) == (256, [16, 17, 18], ".png")


def test_a_tile_that_is_not_there_is_missing_and_not_asked_for_again(tmp_path: Path) -> None:
    with serving(lambda path: Reply(404)) as server:
        source = tiles(server.address + PATH, tmp_path)
        assert not any(source.has((17, 5, y)) for y in (7, 7, 8, 9, 10, 11))
    assert len(server.asked) == 5
    assert source.missing[17, 5, 7] == "has no such tile (404)"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(401), "answers 401: is the key in ADDRESSVLM_TILE_KEY right"),
        (Reply(403), "answers 403: is the key in ADDRESSVLM_TILE_KEY right"),
        (Reply(302, headers={"Location": "https://elsewhere"}), "answers 302.*write the final one"),
        (Reply(429), "answers 429: .*lower satellite_per_second"),
        (Reply(body=png(512)), "are 512 x 512 px: set satellite_tile_px = 512"),
    ],
)
def test_what_concerns_all_tiles_ends_the_job_at_once(tmp_path: Path, reply: Reply, words: str) -> None:
    with serving(lambda path: reply) as server, pytest.raises(AddressVLMError, match=words):
        tiles(server.address + PATH, tmp_path).has((17, 5, 7))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(500), "answers 500"),
        (Reply(400), "answers 400"),
        (
            Reply(body=b"<html>Log in", kind="text/html"),
            "answers with text/html, which is no JPEG, PNG or WebP",
        ),
        (Reply(body=png()[:90]), "answers with image/png, which is no JPEG"),
        (Reply(stall_s=5), "does not answer within 0.05 s"),
    ],
)
def test_one_bad_answer_is_a_missing_tile_and_three_in_a_row_end_the_job(
    tmp_path: Path, reply: Reply, words: str
) -> None:
    with serving(lambda path: Reply(body=png()) if path == "/17/5/2.png" else reply) as server:
        source = tiles(server.address + PATH, tmp_path, timeout_s=0.05, tries=1)
        assert [source.has((17, 5, y)) for y in (0, 1, 2, 3, 4)] == [False, False, True, False, False]
        assert words in source.missing[17, 5, 0]
        with pytest.raises(AddressVLMError, match=f"3 tiles in a row could not be had.*{words}"):
            source.has((17, 5, 5))
        assert tiles(server.address + PATH, tmp_path).has((17, 5, 2))


SECRET = "s3cr3t/+key"


def test_the_key_is_sent_and_never_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    caplog.set_level(logging.DEBUG)
    replies = {"/17/5/0.png": Reply(body=png()), "/17/5/1.png": Reply(403)}
    with serving(lambda path: replies[path.split("?")[0]]) as server:
        source = tiles(server.address + PATH + "?key={key}", tmp_path)
        assert source.has((17, 5, 0))
        with pytest.raises(AddressVLMError) as error:
            source.has((17, 5, 1))
    assert server.asked[0] == "/17/5/0.png?key=s3cr3t%2F%2Bkey"
    said = str(error.value) + caplog.text + "".join(capsys.readouterr()) + repr(source.missing)
    said += "".join(str(path) + path.read_text("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    assert "s3cr3t" not in said


def test_the_cache_does_not_depend_on_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda path: Reply(body=png())) as server:
        for key in ("one", "two"):
            monkeypatch.setenv(KEY, key)
            assert tiles(server.address + "/{key}" + PATH, tmp_path).has((17, 5, 7))
    assert server.asked == ["/one/17/5/7.png"]


def test_a_missing_key_names_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(UsageError, match="set the environment variable ADDRESSVLM_TILE_KEY"):
        tiles("https://t.example/{z}/{x}/{y}.png?key={key}", tmp_path)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("https://t.example/{z}/{x}.png", "must hold {z}, {x} and {y}"),
        ("https://t.example/{z}/{x}/{y}.png?access_token=pk.123", "holds a secret in 'access_token'"),
        ("http://t.example/{z}/{x}/{y}.png?key={key}", "not sent to t.example by http"),
        ("https://{key}.example/{z}/{x}/{y}.png", "host of a tile address is written out"),
        ("ftp://t.example/{z}/{x}/{y}.png", "no web address"),
    ],
)
def test_an_address_that_must_not_be_written_down_is_refused(template: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        checked_template(template)
    assert words in str(error.value)
    assert "pk.123" not in str(error.value)
