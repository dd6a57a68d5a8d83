"""`reproduce cities`: real files of every format through `city build`, and what comes of them.

docs/real-cities.md says where the files are from and how their folder is laid out. What no source has is
made up and called so: a grid of places to ask for, and for imagery without streets a grid of lines.
"""

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from addressvlm.cities.build import build_city
from addressvlm.cities.city import City, load_city
from addressvlm.environment import environment
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.experiments.results import publish
from addressvlm.experiments.specimencities import CITIES, RealCity
from addressvlm.folders import SUMMARY, write_atomically
from addressvlm.geo.naming import name_key
from addressvlm.geo.reading import read_streets
from addressvlm.geo.streets import street_key
from addressvlm.work import say

CORNER_M = 10.0  # as near to a second street, a photo could be given either name
SPELLINGS = (
    "Of the {osm} street names of an OSM extract in San Francisco, {plain} are those of an official centre "
    'line but for case, spaces and dots; by abbreviations ("03RD ST", "3rd Street") {joined} are. '
    "Among the {official:,} official names themselves the abbreviations join {official_joined}."
)
_SECONDS = "build-seconds.txt"


def run_real_cities(
    data: Path, out: Path, *, names: Iterable[str] | None = None, workers: int | None = None
) -> dict[str, Any]:
    """Build every city of `CITIES` (or those named) whose files are under `data`; a figure each."""
    wanted = _wanted(names)
    rows, absent = {}, {}
    for city in wanted:
        say(f"cities: {city.name}")
        folder = out / city.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            keys = city.prepare(data, folder)
        except (OSError, AddressVLMError) as error:
            absent[city.name] = f"{type(error).__name__}: its files are not under the data folder"
            continue
        write_toml(folder / "city.toml", keys)
        rows[city.name] = {**_parts(city), **_built(folder, workers)}
    if not rows:
        raise AddressVLMError(f"{data} holds the files of none of {', '.join(city.name for city in wanted)}")
    spellings = _spellings(data / "sf_vectors")
    return {"cities": rows, "absent": absent, "spellings": spellings, "corner_m": CORNER_M, **environment()}


def _wanted(names: Iterable[str] | None) -> list[RealCity]:
    known = {city.name: city for city in CITIES}
    for name in names or ():
        if name not in known:
            raise UsageError(f"there is no real city {name!r}; there are {', '.join(known)}")
    return [known[name] for name in names or known]


def real_cities_table(result: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    head = (
        *(
            "city",
            "places",
            "streets",
            "districts",
            "imagery",
            "offered",
            "taken",
            "streets: found, with places",
        ),
        *("districts: found, with places", "median m to the street", f"second street within {CORNER_M:g} m"),
        *("tiles (missing)", "s"),
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, row in result["cities"].items():
        tiles = f"{row['tiles']:,} ({row['tiles_missing']:,})" if row["tiles"] else ""
        cells = (
            *(name, row["places"], row["streets_from"], row["districts_from"], row["imagery"]),
            *(
                f"{row['offered']:,}",
                f"{row['photos']:,}",
                f"{row['streets']:,}, {row['streets_with_photos']:,}",
            ),
            f"{row['districts']:,}, {row['districts_with_photos']:,}",
            *(
                f"{row['median_street_m']:.1f}",
                f"{row['corners_percent']:.1f} %",
                tiles,
                f"{row['seconds']:.1f}",
            ),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "What was not taken, and why:", ""]
    for name, row in result["cities"].items():
        if row["rejected"]:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in row["rejected"].items())
            lines.append(f"- {name}: {reasons}")
    lines += ["", "The vectors:", ""]
    for name, row in result["cities"].items():
        about = row["district_coverage"]
        left_out = [f"{n:,} {why}" for some in row["left_out"].values() for why, n in some.items()]
        lines.append(
            f"- {name}: {row['other_spellings']} other spellings joined, districts nested {about['nested']}, "
            f"overlapping {about['overlapping']}, holes {about['holes']}, {about['streets_outside']:g} % of "
            f"the streets' length outside{'; left out: ' + ', '.join(left_out) if left_out else ''}"
        )
    if result["spellings"]:
        lines += ["", SPELLINGS.format(**result["spellings"])]
    if result["absent"]:
        lines += ["", f"Not built: {', '.join(result['absent'])} (files not at hand)."]
    return "\n".join([*lines, ""])


def publish_real_cities(result: Mapping[str, Any], folder: Path, command: str) -> None:
    """Write cities.json and cities.md into a folder."""
    publish(dict(result), folder / "cities.json", command)
    with write_atomically(folder / "cities.md") as temporary:
        temporary.write_text(real_cities_table(result), "utf-8")


def write_toml(path: Path, keys: Mapping[str, Any]) -> None:
    """Write keys as TOML; JSON's texts, numbers, lists and truth are TOML's."""
    plain = {key: value for key, value in keys.items() if not isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
    for key, table in keys.items():
        if isinstance(table, dict):
            lines += ["", f"[{key}]"]
            lines += [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in table.items()]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _parts(city: RealCity) -> dict[str, str]:
    return {
        "places": city.places,
        "streets_from": city.streets,
        "districts_from": city.districts,
        "imagery": city.imagery,
    }


def _built(folder: Path, workers: int | None) -> dict[str, Any]:
    out, note = folder / "city", folder / _SECONDS
    complete = (out / SUMMARY).exists()
    begun = time.monotonic()
    summary = build_city(folder / "city.toml", out, workers=workers)
    if not complete:
        note.write_text(f"{time.monotonic() - begun:.2f}", "utf-8")
    figures = {key: value for key, value in summary.items() if key not in ("name", "sha256")}
    return {**figures, **_measured(load_city(out)), "seconds": float(note.read_text("utf-8"))}


def _measured(city: City) -> dict[str, float]:
    photos = city.photos
    return {
        "median_street_m": round(float(photos["street_m"].median()), 2),
        "p90_street_m": round(float(photos["street_m"].quantile(0.9)), 2),
        "corners_percent": round(100 * float((photos["margin_m"] <= CORNER_M).mean()), 2),
        "with_heading_percent": round(100 * float(photos["heading_deg"].notna().mean()), 2),
    }


def _spellings(folder: Path) -> dict[str, int]:
    """How many names of one map are found on another, of a city that two sources spell differently."""
    try:
        osm, official = (
            set(read_streets(folder / file)["name"])
            for file in ("sf_mission_sample.osm", "sf_street_centerlines.geojson")
        )
    except AddressVLMError:
        return {}
    plain = {street_key(name) for name in official}
    keys = {name_key(name, "en") for name in official}
    return {
        "osm": len(osm),
        "plain": sum(street_key(name) in plain for name in osm),
        "joined": sum(name_key(name, "en") in keys for name in osm),
        "official": len(official),
        "official_joined": len(plain) - len(keys),
    }
