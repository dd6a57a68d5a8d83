import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from four_streets import STREETS, FakeCity, ask, gazetteer
from PIL import Image

from addressvlm.dataset.tables import write_table
from addressvlm.folders import write_json
from addressvlm.imagery.opening import save_jpeg


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> FakeCity:
    folder = tmp_path_factory.mktemp("city")
    (folder / "images").mkdir()
    rows, train = [], []
    for number, (street, (district, colour, _)) in enumerate(STREETS.items()):
        for split in ("train", "test"):
            for view in range(2):
                photo = f"{split}{number}{view}"
                shade = tuple(channel + 8 * view for channel in colour)
                save_jpeg(Image.new("RGB", (48, 32), shade), folder / "images" / f"{photo}.jpg")
                if split == "test":
                    rows += ask(photo, f"test{number}", street)
                else:
                    images = [f"images/{photo}.jpg"]
                    train.append({"photo": photo, "location": f"train{number}", "images": images})
                    train[-1] |= {"district": district, "street": street, "turns": []}
    write_table(folder, "train", train)
    write_table(folder, "test", rows)
    write_table(folder, "val", [])
    gazetteer().to_parquet(folder / "gazetteer.parquet")
    write_json(folder / "config.json", {"step": "dataset"})
    write_json(
        folder / "summary.json",
        {"city": "Four", "levels": ["chome", "street"], "attribution": "© the four streets"},
    )
    return FakeCity(folder, rows)


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    """Write dictionaries (or raw text) as the lines of a predictions file."""

    def write(*rows: dict[str, Any] | str) -> Path:
        path = tmp_path / "predictions.jsonl"
        texts = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_text("".join(f"{text}\n" for text in texts), "utf-8")
        return path

    return write
