import json
import subprocess
import sys
from pathlib import Path

import pytest

from addressvlm.cli.main import exit_code

HEAVY = {"torch", "transformers", "pandas", "geopandas", "numpy", "matplotlib", "PIL", "mapnik", "numba"}


@pytest.mark.parametrize(
    "arguments", [[], ["train", "align"], ["dataset", "build"], ["city", "build"], ["evaluate"]]
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from addressvlm.cli.main import exit_code; "
        f"assert exit_code({[*arguments, '--help']!r}) == 0; "
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Usage: addressvlm" in done.stdout


def test_unknown_option_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["city", "build", "mini:1", "--out", "x", "--colour", "blue"]) == 2
    assert "--colour" in capsys.readouterr().err


def test_unknown_command_is_exit_code_2() -> None:
    assert exit_code(["walk"]) == 2


def test_missing_city_file_is_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["city", "build", str(tmp_path / "city.toml"), "--out", str(tmp_path / "out")]) == 3
    assert "city.toml" in capsys.readouterr().err


def test_evaluate_wants_a_run_or_predictions(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["evaluate"]) == 2
    assert "--predictions FILE" in capsys.readouterr().err


def test_evaluate_scores_a_file_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "photo": "a",
        "location": "1",
        "kind": "generation",
        "level": "street",
        "question": "Which street is this?",
        "options": [],
        "truth": "Mill Road",
    }
    lines = [{**row, "answer": "mill road."}, {**row, "photo": "b", "answer": "Long Lane"}]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert exit_code(["evaluate", "--predictions", str(path), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["metrics"]["s_G"] == 50.0
    assert scored["metrics"]["d_G"] is None


def test_env_tells_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["env", "--json"]) == 0
    assert "torch" in json.loads(capsys.readouterr().out)["versions"]
