"""A data set of a dozen photos in the format of docs/formats.md, made by hand: a colour is a street."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from PIL import Image

from addressvlm.dataset.tables import write_table
from addressvlm.folders import open_step

STREETS = {"Red Street": (200, 40, 40), "Green Lane": (40, 180, 60), "Blue Road": (40, 60, 200)}


def tiny_dataset(folder: Path, *, photos: int = 12, size_px: int = 48) -> Path:
    """Photos of one noisy colour each, with one alignment sample and three rounds of questions."""
    with open_step(folder, "dataset", {"photos": photos, "size_px": size_px}) as step:
        (folder / "images" / "photos").mkdir(parents=True)
        rows = [_photo(folder, index, size_px) for index in range(photos)]
        write_table(folder, "alignment", [_alignment(row) for row in rows])
        write_table(folder, "train", [_conversation(row) for row in rows])
        _gazetteer().to_parquet(folder / "gazetteer.parquet")
        about = {"city": "Tinytown", "levels": ["district", "street"], "attribution": ""}
        step.finish({"photos": photos, **about})
    return folder


def _gazetteer() -> gpd.GeoDataFrame:
    named = [("district", "Old Town"), *(("street", street) for street in sorted(STREETS))]
    rows = [
        {"level": level, "name": name, "spellings": [name], "districts": ["Old Town"], "photos": 1}
        for level, name in named
    ]
    return gpd.GeoDataFrame(rows, geometry=[shapely.Point(9, 48).buffer(0.01)] * len(rows), crs="EPSG:4326")


def _photo(folder: Path, index: int, size_px: int) -> dict[str, object]:
    street = list(STREETS)[index % len(STREETS)]
    noise = np.random.default_rng(index).normal(0, 20, (size_px, size_px, 3))
    picture = np.clip(np.array(STREETS[street]) + noise, 0, 255).astype(np.uint8)
    file = f"images/photos/p{index:02}.png"
    Image.fromarray(picture).save(folder / file)
    return {
        "photo": f"p{index:02}",
        "location": f"l{index // 2}",
        "images": [file],
        "street": street,
        "district": "Old Town",
    }


def _alignment(row: dict[str, object]) -> dict[str, object]:
    return row | {
        "question": "Where is this?",
        "answer": f"On {row['street']} in Old Town.",
        "map_names": [row["street"]],
    }


def _conversation(row: dict[str, object]) -> dict[str, object]:
    def turn(kind: str, question: str, answer: object) -> dict[str, object]:
        return {"kind": kind, "level": "street", "question": question, "options": [], "answer": answer}

    return row | {
        "turns": [
            turn("generation", "Which street is this?", row["street"]),
            turn(
                "judgment",
                "Is this image taken On Red Street, Yes or No?",
                "Yes" if row["street"] == "Red Street" else "No",
            ),
            turn("joint", "What is the address?", f"{row['street']}, Old Town"),
        ]
    }
