import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from addressvlm.cli.main import exit_code
from addressvlm.experiments.benchlabel import write_samples
from addressvlm.experiments.labelserver import Answer, LabelServer, serving

SECRET = "sk-very-secret"  # not a real one


class Refusing(LabelServer):
    """A server that knows no key."""

    def respond(self, body: Mapping[str, Any]) -> Answer:
        return Answer("x", 401, json.dumps({"error": {"message": "who are you?"}}))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Six samples with one picture."""
    write_samples(tmp_path / "data", 6)
    return tmp_path / "data"


def words(dataset: Path, server: LabelServer, *more: str) -> list[str]:
    out = dataset.with_name("labelled")
    return ["label", str(dataset), "--out", str(out), "--endpoint", server.url, "--model", "parrot", *more]


def test_labels_come_from_the_endpoint_and_the_key_is_written_nowhere(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABEL_KEY", SECRET)
    with serving(LabelServer()) as server:
        code = exit_code(
            words(
                dataset,
                server,
                "--key-variable",
                "LABEL_KEY",
                "--price-in",
                "1",
                "--price-out",
                "10",
                "--json",
            )
        )
    assert code == 0
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert result["labels"]["labelled"] == 6
    assert result["account"]["cost"] == pytest.approx(6 * 0.0019)
    assert server.log.headers["authorization"] == f"Bearer {SECRET}"
    written = [path for path in dataset.with_name("labelled").rglob("*") if path.is_file()]
    assert len(written) > 8
    assert not any(SECRET.encode() in path.read_bytes() for path in written)
    assert SECRET not in told.out + told.err


def test_a_refused_key_is_exit_code_3_after_one_call(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Refusing()) as server:
        assert exit_code(words(dataset, server)) == 3
    assert server.log.calls == 1
    assert "refuses the key (401: who are you?)" in capsys.readouterr().err


def test_a_spent_budget_is_exit_code_4_and_the_same_command_goes_on(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(LabelServer()) as server:
        assert exit_code(words(dataset, server, "--budget-calls", "2")) == 4
        assert "2 of 6 samples are labelled" in capsys.readouterr().err
        assert exit_code(words(dataset, server, "--budget-calls", "6")) == 0
    assert server.log.calls == 6


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "--endpoint URL"),
        (["--endpoint", "http://localhost/v1"], "--model NAME"),
        (["--endpoint", "http://localhost/v1", "--local", "."], "--local FOLDER"),
        (["--endpoint", "http://localhost/v1", "--model", "m", "--extra", "[1]"], "JSON object"),
        (["--endpoint", "http://localhost/v1", "--model", "m", "--prompt", "poem"], "georeasoner"),
        (["--endpoint", "localhost", "--model", "m"], "no endpoint"),
    ],
)
def test_what_does_not_fit_together_is_exit_code_2(
    more: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["label", str(tmp_path), "--out", str(tmp_path / "out"), *more]) == 2
    assert words in capsys.readouterr().err
