"""`addressvlm city build`: from photos, vectors and imagery to a city folder, one way for every source."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from addressvlm.cities.blueprint import BLUEPRINT, write_blueprint
from addressvlm.cities.city import (
    CITY,
    DISTRICTS,
    IMAGES,
    PHOTOS,
    REJECTED,
    SPELLINGS,
    STREETS,
    TAKEN,
    TILES,
    write_about,
)
from addressvlm.cities.cityfile import read_city_file
from addressvlm.cities.duplicates import Picture, repeated
from addressvlm.cities.labels import agreement, with_labels
from addressvlm.cities.minicity.config import is_mini
from addressvlm.cities.own import OwnSource
from addressvlm.cities.pictures import NOTES, write_pictures
from addressvlm.cities.remarks import remarks, where_things_lie
from addressvlm.cities.source import Around, Source, Written
from addressvlm.cities.tables import write_list, write_photos, write_places
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import open_step, sha256
from addressvlm.geo.coverage import coverage
from addressvlm.geo.geocoding import reverse_geocode
from addressvlm.geo.streets import StreetMap, joined_spellings, street_map
from addressvlm.imagery.tilegrid import Tile
from addressvlm.work import Workers, say

_FILES = (CITY, PHOTOS, STREETS, DISTRICTS, SPELLINGS, TAKEN, REJECTED)


def build_city(
    source: str | Path,
    out: Path,
    *,
    radius_m: float | None = None,
    photo_px: int | None = None,
    workers: Workers = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Build the city folder `out` from a `city.toml` or a mini city's name; a killed build is continued.

    `radius_m` (default 30), `photo_px` (default 768) and `overrides` replace keys of the `city.toml` or
    fields of the mini city. Every photo offered is taken, or stands in `rejected.csv` with the reason.
    Returns the summary. Raises `AddressVLMError` where an input cannot be used or no photo is left.
    """
    wishes = {"radius_m": radius_m, "photo_px": photo_px, **overrides}
    origin = open_source(source, out, **{key: value for key, value in wishes.items() if value is not None})
    with open_step(out, "city", origin.config) as step:
        summary = step.summary or step.finish(_build(origin, out, workers), flush=True)
        if (out / NOTES).exists():  # also after a kill between the summary and here
            shutil.rmtree(out / NOTES)
        return summary


def open_source(source: str | Path, out: Path, **wishes: Any) -> Source:
    """The source that a path to a `city.toml` or the name of a mini city stands for."""
    if str(source).lower().endswith(".toml"):
        file = read_city_file(Path(source), **wishes)
        if out.resolve().is_relative_to(file.photos.resolve()):
            raise UsageError(f"{out} lies in the folder of the photos, {file.photos}; choose another place")
        return OwnSource(file)
    # A folder may be called like the mini city that it was made from.
    if Path(source).exists() and not is_mini(str(source)):
        raise UsageError(f"{source} is no city.toml; write one that names photos, streets and districts")
    # Rendering needs libraries that a user's own photos do not.
    from addressvlm.cities.mini import mini_source

    return mini_source(str(source), **wishes)


def _build(origin: Source, out: Path, workers: Workers) -> dict[str, Any]:
    streets, districts = origin.streets(), origin.districts()
    language = origin.street_language
    city_map = street_map(streets, districts, language=language)
    spellings = joined_spellings(streets["name"], language=language)
    photos = _with_addresses(origin, city_map, origin.photos(workers))
    around = origin.tiles(photos[photos["reason"] == ""])
    photos, tiles = _with_imagery(origin, photos, around)
    written = write_pictures(origin.writer, _photo_files(origin, photos), tiles, out, workers)
    photos = _with_pictures(photos, written)
    if not origin.repeats:
        photos = _without_repeats(photos, written)
        for file in photos["file"][photos["reason"] != ""].dropna():
            (out / file).unlink(missing_ok=True)
    taken, rejected = photos[photos["reason"] == ""], photos[photos["reason"] != ""]
    write_list(out / REJECTED, rejected, {"file": "source", "reason": "reason"})
    if taken.empty:
        raise AddressVLMError(
            f"no photo is left of {len(photos)} ({_told(rejected)}); see {out / REJECTED}"
            f"{where_things_lie(city_map, photos)}"
        )
    write_list(out / TAKEN, taken, {"photo": "photo", "file": "source"})
    write_about(origin.about, out / CITY)
    write_photos(out / PHOTOS, taken)
    write_places(out / STREETS, city_map.streets)
    write_places(out / DISTRICTS, city_map.districts)
    if tiles and all(written[file].reason for file in tiles):
        raise AddressVLMError(
            f"none of the {len(tiles)} tiles around the photos is a picture; check satellite"
        )
    drawn = {file: tile for file, tile in tiles.items() if not written[file].reason}
    files = list(_FILES)
    if origin.imagery_origin is not None:
        digests = {file: written[file].sha256 for file in drawn}
        write_blueprint(out / BLUEPRINT, origin.about, origin.imagery_origin, taken, digests)
        files.append(BLUEPRINT)
    columns = ("name", "spelling", "pieces")
    write_list(
        out / SPELLINGS, pd.DataFrame(spellings, columns=columns), {column: column for column in columns}
    )
    counts = {
        "district_coverage": coverage(city_map),
        "tiles": len(drawn),
        **_holes(around or {}, taken, len(tiles) - len(drawn)),
    }
    for remark in remarks(city_map, streets, counts, around or {}):
        say(remark)
    return {
        "name": origin.about.name,
        "photos": len(taken),
        "locations": taken["location"].nunique(),
        "streets": len(city_map.streets),
        "streets_with_photos": taken["street"].nunique(),
        "districts": len(city_map.districts),
        "districts_with_photos": taken["district"].nunique(),
        "offered": len(photos),
        **agreement(taken),
        "rejected": _counted(rejected),
        "left_out": {"streets": _dropped(streets), "districts": _dropped(districts)},
        "other_spellings": len(spellings),
        **counts,
        "sha256": {
            **{name: sha256(out / name) for name in files},
            IMAGES: _digest(taken["file"].dropna(), written),
            TILES: _digest(drawn, written),
        },
    }


def _with_addresses(origin: Source, city_map: StreetMap, photos: pd.DataFrame) -> pd.DataFrame:
    """The photos with the columns of `reverse_geocode`; what was rejected before keeps its reason."""
    offered = photos["reason"] == ""
    addresses = reverse_geocode(
        city_map,
        photos["lat"].where(offered),
        photos["lon"].where(offered),
        radius_m=origin.radius_m,
        district_tolerance_m=origin.district_tolerance_m,
    )
    addresses["reason"] = photos["reason"].where(~offered, addresses["reason"])
    photos = pd.concat([photos.drop(columns="reason"), addresses], axis=1)
    photos = with_labels(city_map, photos, origin.label_aliases)
    limit_m = origin.about.map_side_m / 2
    astray = _from_the_others_m(city_map, photos) > limit_m
    return _reject(photos, astray, f"more than {limit_m:g} m from the other photos of its location")


def _from_the_others_m(city_map: StreetMap, photos: pd.DataFrame) -> pd.Series:
    """How far each photo lies from the middle of its location's photos, in metres; NaN for rejected ones."""
    usable = photos[photos["reason"] == ""]
    x, y = city_map.projection.to_xy(usable["lat"], usable["lon"])
    places = pd.DataFrame({"x": x, "y": y}, index=usable.index)
    away = places - places.groupby(usable["location"]).transform("median")
    return pd.Series(np.hypot(away["x"], away["y"]), usable.index).reindex(photos.index)


def _with_imagery(
    origin: Source, photos: pd.DataFrame, around: Mapping[str, Around] | None
) -> tuple[pd.DataFrame, dict[str, Tile]]:
    """The photos, those rejected whose place no tile shows; and the tiles by their files."""
    if around is None:
        return photos, {}
    bare = ~photos["location"].isin([place for place, some in around.items() if some.tiles])
    template = origin.about.satellite
    files = {
        template.format(z=tile[0], x=tile[1], y=tile[2]): tile
        for tile in sorted({tile for some in around.values() for tile in some.tiles})
    }
    return _reject(photos, bare, "no satellite tile shows its place"), files


def _holes(around: Mapping[str, Around], taken: pd.DataFrame, damaged: int) -> dict[str, int]:
    """What is grey on the maps of the photos taken, counted."""
    some = [around[location] for location in taken["location"].unique() if location in around]
    return {
        "tiles_missing": len({tile for one in some for tile in one.missing}),
        "tiles_damaged": damaged,
        "maps_with_holes": sum(bool(one.missing) for one in some),
    }


def _photo_files(origin: Source, photos: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The rows to write a picture of, by its file."""
    if not origin.pictures:
        return {}
    rows = photos[photos["reason"] == ""].to_dict("records")
    return {f"{IMAGES}/{row['photo']}.jpg": {str(key): value for key, value in row.items()} for row in rows}


def _with_pictures(photos: pd.DataFrame, written: Mapping[str, Written]) -> pd.DataFrame:
    """The photos with `file` and `scene`; those without a picture that should have one are rejected."""
    files = [f"{IMAGES}/{photo}.jpg" for photo in photos["photo"]]
    outcomes = [written.get(file) for file in files]
    file: list[Any] = [file if outcome else None for file, outcome in zip(files, outcomes, strict=True)]
    scene: list[Any] = [outcome.scene if outcome else None for outcome in outcomes]
    failed = [outcome.reason if outcome else "" for outcome in outcomes]
    reason = photos["reason"].where(photos["reason"] != "", failed)
    return photos.assign(file=file, scene=scene, reason=reason)


def _without_repeats(photos: pd.DataFrame, written: Mapping[str, Written]) -> pd.DataFrame:
    """The photos, those rejected whose picture was taken before."""
    taken = photos[(photos["reason"] == "") & photos["file"].notna()]
    pictures = [
        Picture(row["source"], row["location"], written[row["file"]].sha256, written[row["file"]].likeness)
        for row in taken[["source", "location", "file"]].to_dict("records")
    ]
    reasons = {taken.index[number]: reason for number, reason in repeated(pictures).items()}
    return photos.assign(
        reason=pd.Series(reasons, dtype=object).reindex(photos.index).fillna(photos["reason"])
    )


def _reject(photos: pd.DataFrame, which: pd.Series, reason: str) -> pd.DataFrame:
    return photos.assign(reason=photos["reason"].mask((photos["reason"] == "") & which, reason))


def _counted(rejected: pd.DataFrame) -> dict[str, int]:
    """How many photos were rejected for each kind of reason; details follow a colon or semicolon."""
    kinds = Counter(reason.split(":")[0].split(";")[0] for reason in rejected["reason"])
    return dict(sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0])))


def _told(rejected: pd.DataFrame) -> str:
    counts = [f"{count} {reason}" for reason, count in _counted(rejected).items()]
    return ", ".join(counts) or "none was offered"


def _dropped(frame: gpd.GeoDataFrame) -> dict[str, int]:
    return {reason: count for reason, count in frame.attrs.get("dropped", {}).items() if count}


def _digest(files: Iterable[str], written: Mapping[str, Written]) -> str:
    """One digest for many files: that of their names and digests."""
    lines = "".join(f"{written[file].sha256}  {file}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()
