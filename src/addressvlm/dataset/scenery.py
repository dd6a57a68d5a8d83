"""Scenes for pre-training: street views of many mini cities, each with a map that nobody has seen before.

A scene is a view, the ground around it from above, the same with street names, and everything that is known
about them. The names are drawn anew for every map, so that nothing can be learned by heart: whoever wants to
know one must read it. The standard mini cities are never among the cities, nor their street names among the
names.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from PIL import Image

from addressvlm.cities.minicity.city import MiniCity
from addressvlm.cities.minicity.config import STANDARD, mini_city
from addressvlm.cities.minicity.names import Namer
from addressvlm.cities.minicity.plan import draw_plan
from addressvlm.dataset.options import SceneOptions
from addressvlm.dataset.scenes import SCHEMA, Name, SceneFacts, scene_file
from addressvlm.dataset.seeds import generator
from addressvlm.folders import open_step, write_atomically
from addressvlm.geo.places import LatLon
from addressvlm.imagery.frames import Frame
from addressvlm.imagery.grafting import graft_box
from addressvlm.imagery.labelling import draw_street_names
from addressvlm.imagery.lettering import ALPHABET, Lettered, write_words
from addressvlm.imagery.opening import jpeg
from addressvlm.work import Workers, in_processes, track

SCENES = "scenes"
_CENTRED = 0.4  # share of maps with the photo in the middle, as in the alignment stage
_JUMBLED = 0.05  # share of the words of pages that are none
_EDGE_PX = 8  # no photo is taken closer to the edge of its map
_GROUND_M = 0.5  # side of a pixel of the city from above, from which the maps are cut


@dataclass(frozen=True)
class Scene:
    """A street view, its map without and with street names, and a page: the map with words to practise on.

    `surfaces` and `ground` (height, width) are what view and map show: see `cities.minicity.surfaces`.
    """

    view: Image.Image
    plain: Image.Image
    named: Image.Image
    page: Lettered
    surfaces: npt.NDArray[np.uint8]
    ground: npt.NDArray[np.uint8]
    facts: SceneFacts


def make_scenes(options: SceneOptions, out: Path, *, workers: Workers = None) -> dict[str, Any]:
    """Render the scenes of all cities under `out`, a Parquet file a city; a rerun goes on."""
    with open_step(out, SCENES, asdict(options)) as step:
        if step.summary is not None:
            return step.summary
        seeds = range(options.first_seed, options.first_seed + options.cities)
        done = in_processes(partial(_make_city, options, out), seeds, workers, chunk=1)
        scenes = sum(track(done, "scenes by city", total=len(seeds)))
        return step.finish({"cities": len(seeds), "scenes": scenes})


def _make_city(options: SceneOptions, out: Path, seed: int) -> int:
    """Write the scenes of one city; how many there are."""
    path = scene_file(out, seed)
    if path.exists():
        return int(pq.read_metadata(path).num_rows)
    rows = [_row(scene) for scene in city_scenes(seed, options)]
    with write_atomically(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary, compression="none")
    return len(rows)


def _row(scene: Scene) -> dict[str, Any]:
    words = [asdict(word) for word in scene.page.words]
    return {
        **{name: jpeg(getattr(scene, name)) for name in ("view", "plain", "named")},
        "page": jpeg(scene.page.image),
        "letters": _png(Image.fromarray(scene.page.letters)),
        **{name: _png(Image.fromarray(getattr(scene, name))) for name in ("surfaces", "ground")},
        "facts": json.dumps({**asdict(scene.facts), "page": words}, ensure_ascii=False),
    }


def city_scenes(seed: int, options: SceneOptions) -> Iterator[Scene]:
    """The scenes of `mini:SEED`."""
    city = MiniCity(
        mini_city(
            f"mini:{seed}",
            locations=options.locations,
            views=options.views,
            view_px=options.image_px,
            samples=2,
        )
    )
    ground = _Ground(city)
    streets = city.streets
    paths = np.array([city.plan.streets[index].path for index in range(len(streets))], dtype=object)
    own = [street.name for street in city.plan.streets]
    for row in cast(list[dict[str, Any]], city.views.to_dict("records")):
        rng = generator("scene", seed, row["photo"])
        view = city.render(row)
        x, y = (float(value) for value in city.projection.to_xy(row["lat"], row["lon"]))
        at = _spot(options, rng)
        side_m = city.config.map_side_m
        metres = side_m / options.image_px
        middle = (x - (at[0] - options.image_px / 2) * metres, y + (at[1] - options.image_px / 2) * metres)
        lat, lon = city.projection.to_latlon(*middle)
        frame = Frame(LatLon(float(lat), float(lon)), side_m, options.image_px)
        plain, shown = ground.cut(*middle, side_m, options.image_px)

        namer = Namer(city.config.naming, rng)
        names = namer.other_streets(len(streets), standard_names())
        renamed = dict(zip(own, names, strict=True))
        reserved = graft_box(options.image_px, view.image.size, options.delta)
        labelled = draw_street_names(
            plain,
            frame,
            streets.assign(name=names),
            reserved=reserved,
            font_px=options.label_px,
            level=True,
        )
        index, crossing = _streets_of(paths, x, y)
        window = shapely.box(
            middle[0] - side_m / 2, middle[1] - side_m / 2, middle[0] + side_m / 2, middle[1] + side_m / 2
        )
        facts = SceneFacts(
            place=f"{seed}/{row['location']}",
            road=f"{seed}/{index}",
            quarter=f"{seed}/{_district(city, x, y)}",
            at=at,
            heading_deg=float(row["heading_deg"]),
            street=renamed[own[index]],
            cross_street=None if crossing is None else renamed[own[crossing]],
            names=tuple(
                Name(label.name, label.box, _course(paths[names.index(label.name)], window), label.middles)
                for label in labelled.labels
            ),
            view=view.facts,
            words=view.scene,
        )
        stored = Image.open(io.BytesIO(jpeg(plain)))
        page = write_words(stored, _words(namer, rng), rng, font_px=options.label_px)
        yield Scene(view.image, plain, labelled.image, page, view.surfaces, shown, facts)


class _Ground:
    """A city from above, rendered once; its maps are cut out of it."""

    def __init__(self, city: MiniCity):
        west, south, east, north = city.plan.limit.bounds
        self._middle = ((west + east) / 2, (south + north) / 2)
        self._side_m = max(east - west, north - south) + 2 * city.config.map_side_m
        aerial = city.aerial(*self._middle, self._side_m, round(self._side_m / _GROUND_M))
        self._image, self._surfaces = aerial.image, Image.fromarray(aerial.surfaces)

    def cut(
        self, x: float, y: float, side_m: float, side_px: int
    ) -> tuple[Image.Image, npt.NDArray[np.uint8]]:
        """The square of `side_m` around a point of the city's plane, north up, and what it shows."""
        scale = self._image.width / self._side_m
        left = (x - side_m / 2 - self._middle[0] + self._side_m / 2) * scale
        top = (self._middle[1] + self._side_m / 2 - y - side_m / 2) * scale
        box = (left, top, left + side_m * scale, top + side_m * scale)
        size = (side_px, side_px)
        return (
            self._image.resize(size, Image.Resampling.BICUBIC, box=box),
            np.asarray(self._surfaces.resize(size, Image.Resampling.NEAREST, box=box)),
        )


@lru_cache(maxsize=1)
def standard_names() -> frozenset[str]:
    """All street names of the standard mini cities."""
    return frozenset(street.name for config in STANDARD.values() for street in draw_plan(config).streets)


def _words(namer: Namer, rng: np.random.Generator) -> list[str]:
    """As many words as find room: street names, and letters in no order, to be read and not guessed.

    Few of those: they fall into many tokens, which are as hard to learn as they are useless.
    """
    count = int(rng.integers(4, 10))
    names = namer.other_streets(count, standard_names())
    return [_jumble(rng) if rng.random() < _JUMBLED else name for name in names]


def _jumble(rng: np.random.Generator) -> str:
    letters = rng.choice(list(ALPHABET[26:52]), int(rng.integers(2, 10)))
    return str(rng.choice(list(ALPHABET[:26]))) + "".join(letters)


def _spot(options: SceneOptions, rng: np.random.Generator) -> tuple[float, float]:
    """Where on the map the photo is: in the middle, or anywhere that the grafted photo does not hide."""
    side = float(options.image_px)
    if rng.random() < _CENTRED:
        return (side / 2, side / 2)
    hidden = side * options.delta + _EDGE_PX
    while True:
        x, y = (float(value) for value in np.round(rng.uniform(_EDGE_PX, side - _EDGE_PX, 2), 2))
        if not (x > side - hidden and y < hidden):
            return (x, y)


def _streets_of(paths: Any, x: float, y: float) -> tuple[int, int | None]:
    """The street of a place, and the nearest one that meets it within 30 m, if any."""
    spot = shapely.Point(x, y)
    gaps = shapely.distance(paths, spot)
    order = np.argsort(gaps, kind="stable")
    first, second = int(order[0]), int(order[1])
    around = spot.buffer(30.0)
    meets = gaps[second] < 30 and paths[first].intersection(around).distance(paths[second]) < 3
    return first, second if meets else None


def _district(city: MiniCity, x: float, y: float) -> int:
    spot = shapely.Point(x, y)
    return int(np.argmin([district.area.distance(spot) for district in city.plan.districts]))


def _course(path: Any, window: Any) -> float:
    """The direction of the visible part of a street, in degrees from north, in [0, 180)."""
    parts = shapely.get_parts(path.intersection(window))
    longest = max(parts, key=lambda part: part.length)
    points = shapely.get_coordinates(shapely.segmentize(longest, 5.0))
    east, north = (points - points.mean(axis=0)).T
    angle = 0.5 * np.degrees(np.arctan2(2 * (east * north).mean(), (north**2 - east**2).mean()))
    return round(float(angle % 180), 1)


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
