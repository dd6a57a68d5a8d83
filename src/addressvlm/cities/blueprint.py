"""What a city's imagery is made of, so that it can be made again where it may not be passed on.

`blueprint.json` names where the tiles come from, which ones they are and their digests; not one pixel.
"""

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from addressvlm.cities.city import CITY, PHOTOS, About, read_about
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.fetching import host_of
from addressvlm.folders import own_folder, read_json, require_complete, sha256, write_atomically, write_json
from addressvlm.imagery.opening import image_of
from addressvlm.imagery.stores import Imagery, check_imagery, is_web, open_store
from addressvlm.imagery.tilegrid import Tile, TileStore
from addressvlm.imagery.webtiles import WebAccess
from addressvlm.work import track

BLUEPRINT = "blueprint.json"


@dataclass(frozen=True)
class Remade:
    """What became of the tiles of a blueprint: there, made again, not what they were, not to be had."""

    tiles: int
    there: int = 0
    made: int = 0
    different: int = 0
    missing: int = 0


def write_blueprint(
    path: Path, about: About, origin: Mapping[str, Any], taken: pd.DataFrame, digests: Mapping[str, str]
) -> None:
    """Write the blueprint of a city whose tiles (file → digest) were just made."""
    middles = taken.groupby("location")[["lat", "lon"]].mean()
    value = {
        "imagery": dict(origin),
        "attribution": about.attribution,
        "licence": about.licence,
        "template": about.satellite,
        "map_side_m": about.map_side_m,
        "frames": {str(place): [lat, lon] for place, lat, lon in middles.itertuples()},
        "tiles": dict(digests),
    }
    write_json(path, value)


def remake_imagery(
    folder: Path, where: str | None = None, *, web: WebAccess | None = None, accept_changes: bool = False
) -> dict[str, int]:
    """Make the tiles of a city folder again that are not there, from `where`, and check every digest.

    Without `where` the blueprint's own web address is used if `web` allows asking it and it wants no key;
    without either, what is there is checked. Tiles that have changed since are counted and left out, unless
    `accept_changes`. Returns the counts of `Remade`; raises `AddressVLMError` where some tiles are missing or
    different, and `UsageError` where the blueprint wants a key.
    """
    about, blueprint = _read(folder)
    store = _store(blueprint, where, web)
    counts = dict.fromkeys(asdict(Remade(0)), 0)
    files: dict[str, str] = blueprint["tiles"]
    # A folder that is only checked may be one that cannot be written.
    with own_folder(folder) if store else nullcontext():
        for file, digest in track(files.items(), "tiles", len(files)):
            tile = _tile(file, about.satellite)
            counts[_remade(_place(folder, file), digest, tile, store, accept_changes)] += 1
    remade = Remade(**{**counts, "tiles": len(files)})
    if remade.missing or (remade.different and not accept_changes):
        raise AddressVLMError(
            f"{folder}: of {remade.tiles} tiles {remade.there} are there, {remade.made} were made again, "
            f"{remade.different} are different from what they were (accept them with --accept-changes), "
            f"{remade.missing} are missing; the imagery comes from {blueprint['imagery']['source']}"
        )
    return asdict(remade)


def _read(folder: Path) -> tuple[About, dict[str, Any]]:
    if not (folder / BLUEPRINT).is_file():
        require_complete(folder)
        raise UsageError(
            f"{folder} has no {BLUEPRINT}: its maps are drawn from its streets, or it is a mini city"
        )
    about, blueprint = read_about(folder / CITY), read_json(folder / BLUEPRINT)
    files = blueprint.get("tiles") if isinstance(blueprint, dict) else None
    if not isinstance(files, dict) or "source" not in blueprint.get("imagery", {}):
        raise AddressVLMError(f"{folder / BLUEPRINT} is damaged; get it again with {PHOTOS}")
    return about, blueprint


def _store(blueprint: Mapping[str, Any], where: str | None, web: WebAccess | None) -> TileStore | None:
    origin = blueprint["imagery"]
    if where is None:
        if web is None or not is_web(origin["source"]):
            return None
        where = str(origin["source"])
        if "{key}" in where:
            raise UsageError(
                f"the blueprint wants a key for {host_of(where)}, but a blueprint may come from anybody; if "
                "your key belongs there, write the address yourself: --satellite URL --fetch"
            )
    check_imagery(where)
    if is_web(where) and web is not None:
        max_zoom = int(origin.get("satellite_max_zoom", web.max_zoom))
        web = WebAccess(web.per_second, max_zoom, int(origin["tile_px"]), web.cache)
    return open_store(Imagery(where, web))


def _tile(file: str, template: str) -> Tile:
    """The tile of a file; checked, because a blueprint may come from anybody."""
    ending = template.rpartition("}")[2]
    numbers = file.removesuffix(ending).split("/")[-3:]
    if not all(number.isdecimal() for number in numbers) or len(numbers) != 3:
        raise AddressVLMError(f"the blueprint lists {file!r}, which is no tile")
    zoom, x, y = (int(number) for number in numbers)
    if template.format(z=zoom, x=x, y=y) != file:
        raise AddressVLMError(f"the blueprint lists {file!r}, which is no tile of {template}")
    return zoom, x, y


def _place(folder: Path, file: str) -> Path:
    """Where a tile lies; a link could lead it out of the folder."""
    path = folder / file
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise AddressVLMError(
            f"{path.parent} is a link that leads out of {folder}; tiles are written into the folder alone: "
            "remove the link"
        )
    return path


def _remade(path: Path, digest: str, tile: Tile, store: TileStore | None, accept_changes: bool) -> str:
    """What became of one tile, as the field of `Remade` that counts it."""
    if path.is_file() and sha256(path) == digest:
        return "there"
    if store is None:
        return "different" if path.is_file() else "missing"
    if not store.has(tile):
        return "missing"
    try:
        data = store.read(tile)
        image_of(data, "the tile")
    except AddressVLMError:
        return "missing"
    same = hashlib.sha256(data).hexdigest() == digest
    if same or accept_changes:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path, durable=False) as temporary:
            temporary.write_bytes(data)
    return "made" if same else "different"
