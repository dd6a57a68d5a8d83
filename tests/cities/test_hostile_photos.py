"""Hostile names and broken photos by the hundred; `many` says how many, the suite takes few."""

import csv
import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from smalltown import contents, picture, write_toml

from addressvlm.cities.build import build_city
from addressvlm.errors import AddressVLMError

Spoil = Callable[[Path, dict[str, Any]], None]

_ODD = (
    "..",
    "/",
    "\\",
    "@",
    "\0",
    "\n",
    "\r",
    "~",
    "$HOME",
    "%2e%2e",
    "CON",
    "nul.jpg",
    "-rf",
    "'",
    '"',
    ",",
    ";",
)
_ODD += (
    "\u202e",
    "\ufeff",
    "😀",
    "é",
    "é",
    "東京",
    "\x1b[2J",
    "{z}",
    "*",
    "?",
    "|",
    " ",
    ".",
    "=cmd()",
    "<b>",
)


def hostile_names(many: int, seed: int = 0) -> list[str]:
    """Names that want out of their folder, or cannot be names at all."""
    rng = random.Random(seed)
    known = [
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "/",
        "a" * 300 + ".jpg",
        "é" * 200 + ".jpg",
        "a\0.jpg",
    ]
    known += [
        "../out/images/p000001.jpg",
        "../out/city.toml",
        "~root/a.jpg",
        "file:///etc/passwd",
        "\n",
        "con.jpg",
    ]
    drawn = ("".join(rng.choices(_ODD, k=rng.randint(1, 9))) for _ in iter(int, 1))
    endings = ("", ".jpg", ".jpg", ".JPG", ".png")
    return [*known, *(next(drawn) + rng.choice(endings) for _ in range(many - len(known)))]


def build_hostile(town: Path, many: int) -> tuple[dict[str, Any], int]:
    """A city of such names in a CSV, one in three also a file if a file can be named so; and how many are."""
    (town / "0.jpg").replace(town.parent / "picture.jpg")
    blocks = (town.parent / "picture.jpg").read_bytes()
    names = hostile_names(many)
    inside = town / "photos"
    inside.mkdir()
    for name in names[::3]:
        path = inside / name.replace("/", "_")
        try:
            path.write_bytes(blocks)
        except (OSError, ValueError):
            continue
    files = sum(path.is_file() for path in inside.iterdir())
    with (inside / "photos.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "lat", "lon", "location"])
        for number, name in enumerate(names):
            rows.writerow([name.replace("/", "_") if number % 3 == 0 else name, 45.001, 9.0, name])
    before = contents(town.parent)
    toml = write_toml(town, 'photos = "photos/photos.csv"', 'duplicates = "keep"')
    summary = build_city(toml, town.parent / "out", workers=1)
    after = {name: data for name, data in contents(town.parent).items() if not name.startswith("out/")}
    after.pop("town/city.toml")
    assert after == before, "something was written outside of the output folder"
    made = [path.name for path in (town.parent / "out").rglob("*") if path.is_file()]
    ours = (
        r"p\d{6}\.jpg|(city|config|summary)\.(toml|json)|.*\.parquet|(taken|rejected|spellings)\.csv|\.lock"
    )
    assert [name for name in made if not re.fullmatch(ours, name)] == []
    return summary, files


def test_no_name_leads_out_of_the_folder(town: Path) -> None:
    summary, files = build_hostile(town, 150)
    assert summary["offered"] == summary["photos"] + sum(summary["rejected"].values()) == 150
    assert 0 < summary["photos"] <= files


def test_a_folder_of_hostile_names_is_read_like_any_other(town: Path) -> None:
    build_hostile(town, 60)
    before = sorted(contents(town))
    toml = write_toml(town, 'photos = "photos"', 'track = "ride.gpx"')
    (town / "ride.gpx").write_text(
        '<gpx version="1.1" creator="t"><trk><trkseg><trkpt lat="45" lon="9">'
        "<time>2024-05-01T12:00:00Z</time></trkpt></trkseg></trk></gpx>"
    )
    with pytest.raises(AddressVLMError, match="no photo is left .* has no time for the track"):
        build_city(toml, town.parent / "second", workers=1)
    assert sorted(contents(town)) == sorted([*before, "ride.gpx"])


def _cut(path: Path, row: dict[str, Any]) -> None:
    path.write_bytes(path.read_bytes()[:900])


def _animated(path: Path, row: dict[str, Any]) -> None:
    picture(1).save(path, "WEBP", save_all=True, append_images=[picture(2)])


SPOILT: dict[str, Spoil] = {
    "is truncated or damaged": _cut,
    "is empty (0 bytes)": lambda path, row: path.write_bytes(b"") and None,
    "is not a JPEG, PNG or WebP image": lambda path, row: path.write_text("hello") and None,
    "is an animation": _animated,
    "has more than 50 million pixels": lambda path, row: Image.new("1", (9000, 9000)).save(path, "PNG"),
    "there is no such file": lambda path, row: path.unlink(),
    "lat is no number": lambda path, row: row.update(lat="north"),
    "coordinates are 0, 0": lambda path, row: row.update(lat=0, lon=0),
    "coordinates are out of range": lambda path, row: row.update(lat=95),
    "no coordinates": lambda path, row: row.update(lon=""),
}


def compare_spoilt(town: Path, many: int, each: int) -> None:
    """Build a city of so many photos twice: whole, and with `each` of them broken in each of ten ways."""
    rows = []
    for number in range(many):
        picture(number, (48, 36)).save(town / f"photo {number}.jpg")
        lat = 45 + 0.009 * (number // 4) / many * 4
        rows.append({"file": f"photo {number}.jpg", "lat": lat, "lon": 9, "location": number // 4})
    build_city(_write(town, rows), town.parent / "clean", workers=1)
    wanted: dict[str, str] = {}
    victims = iter(random.Random(7).sample(range(many), each * len(SPOILT)))
    for reason, spoil in SPOILT.items():
        for _ in range(each):
            row = rows[next(victims)]
            spoil(town / str(row["file"]), row)
            wanted[str(row["file"])] = reason
    summary = build_city(_write(town, rows), town.parent / "spoilt", workers=1)
    assert summary["rejected"] == Counter(wanted.values())
    with (town.parent / "spoilt" / "rejected.csv").open(newline="", encoding="utf-8") as file:
        told = {line["file"]: line["reason"] for line in csv.DictReader(file)}
    assert {name: re.split("[:;]", reason)[0] for name, reason in told.items()} == wanted
    clean, spoilt = (pd.read_parquet(town.parent / name / "photos.parquet") for name in ("clean", "spoilt"))
    assert len(clean) == many
    others = clean[clean["photo"].isin(spoilt["photo"])].reset_index(drop=True)
    assert len(spoilt) == many - len(wanted)
    pd.testing.assert_frame_equal(others, spoilt)
    assert _digests(town.parent / "clean", spoilt["file"]) == _digests(town.parent / "spoilt", spoilt["file"])
    assert len(list((town.parent / "spoilt" / "images").iterdir())) == len(spoilt)


def _write(town: Path, rows: Sequence[dict[str, Any]]) -> Path:
    pd.DataFrame(rows).to_csv(town / "photos.csv", index=False)
    return write_toml(town, 'photos = "photos.csv"')


def _digests(folder: Path, files: Sequence[str]) -> list[str]:
    return [hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files]


def test_broken_photos_are_told_exactly_and_the_others_are_as_ever(town: Path) -> None:
    compare_spoilt(town, 100, 2)
