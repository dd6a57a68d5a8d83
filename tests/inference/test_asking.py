import json
from pathlib import Path

import pytest
from PIL import Image

from addressvlm.errors import AddressVLMError
from addressvlm.inference import asking
from addressvlm.inference.asking import ask_photo
from addressvlm.inference.localizer import Localizer


def test_a_question_gets_the_greedy_answer(run: Path, photos: list[Path]) -> None:
    answer = ask_photo(run, photos[0], "Where?")
    assert answer == {"question": "Where?", "answer": Localizer.load(run).ask(photos[0], "Where?")}


def test_samples_give_a_histogram_and_its_map(
    run: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ["Oak Street"] * 3 + ["Elm Street", "Atlantis"]
    monkeypatch.setattr(asking.Localizer, "sample", lambda *_, **__: said)
    answer = ask_photo(run, photos[0], "Where?", samples=5, out=tmp_path / "maps" / "here")
    assert answer["streets"] == [
        {"name": "Oak Street", "count": 3, "share": 0.6},
        {"name": "Elm Street", "count": 1, "share": 0.2},
    ]
    assert answer["none_of_these"] == 0.2
    assert json.loads(json.dumps(answer)) == answer
    assert len(json.loads(Path(answer["files"]["geojson"]).read_text("utf-8"))["features"]) == 2
    with Image.open(answer["files"]["map"]) as picture:
        assert picture.format == "PNG"


def test_a_model_that_names_no_street_still_gets_its_map(
    run: Path, photos: list[Path], tmp_path: Path
) -> None:
    answer = ask_photo(run, photos[0], "Where?", samples=2, out=tmp_path)
    assert answer["streets"] == []
    assert answer["none_of_these"] == 1.0
    assert (tmp_path / "streets.png").exists()


def test_a_folder_that_cannot_be_made_is_named(run: Path, photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AddressVLMError, match="cannot make the folder"):
        ask_photo(run, photos[0], "Where?", samples=1, out=tmp_path / "file")
