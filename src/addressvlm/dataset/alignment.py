"""Stage 1, cross-view alignment (Sec. 3.2): the labelled map with the photo on it, and why they match."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from PIL import Image

from addressvlm.cities.city import City
from addressvlm.dataset.describing import Describe, Hint, Pictures, alignment_question, hinted_prompt
from addressvlm.dataset.files import grafted_file, map_file, photo_file, save_picture, stitched_file
from addressvlm.dataset.options import DatasetOptions
from addressvlm.dataset.seeds import generator
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.geo.places import LatLon
from addressvlm.imagery.grafting import graft, graft_box, pair, stitch
from addressvlm.imagery.labelling import LabelledMap, draw_street_names
from addressvlm.imagery.satellite import Frame

# Two streets meet near a photo when within so many metres of it they come as close to each other as `_GAP_M`.
_NEAR_M = 40.0
_GAP_M = 2.0
_GREY = "#7f7f7f"  # of a blank map
_EDGE = 0.06  # of a map's side: no photo is taken nearer to its edge, if not taken in its middle


class NoImagery(AddressVLMError):
    """The satellite source shows nothing of a place."""


@dataclass(frozen=True)
class View:
    """A street view: its row in the city's table, its pixels, and its size (width, height) in the city.

    The pixels may be fewer: as many as the pictures of the data set need.
    """

    row: pd.Series
    image: Image.Image
    size: tuple[int, int]


@dataclass(frozen=True)
class Sample:
    """A row of the alignment table; `images` are paths under the folder of the data set."""

    photo: str
    location: str
    images: tuple[str, ...]
    question: str
    answer: str
    district: str
    street: str
    map_names: tuple[str, ...]


def alignment_samples(
    city: City,
    views: Sequence[View],
    folder: Path,
    options: DatasetOptions,
    describe: Describe,
    *,
    elsewhere: str = "",
) -> Iterator[Sample]:
    """The samples of one location's training photos, whose pictures are written under `folder`.

    There is one labelled map for all of them, not one for each: a location has up to 24 photos. The control
    that wants it takes the map of the location `elsewhere`.
    """
    location = str(views[0].row["location"])
    labelled = labelled_map(city, location, [view.size for view in views], options)
    save_picture(labelled.image, folder, map_file(location), city.attribution)
    question = alignment_question(city.levels, options.variant)
    spoilt = _spoilt_map(city, elsewhere or location, labelled.image, [view.size for view in views], options)
    for view in views:
        row = view.row
        pictures, files = _compose(labelled.image, view, folder, options, city.attribution)
        label = describe(pictures, hinted_prompt(_hint(city, row, labelled.names, options)))
        if options.control == "view":
            files = (photo_file(row["photo"]),)
        elif spoilt is not None:
            # In place of the picture that the text is about.
            _compose(spoilt, view, folder, options, city.attribution)
        names = (row["district"], row["street"], labelled.names)
        yield Sample(row["photo"], location, files, question, label, *names)


def labelled_map(
    city: City, location: str, photo_sizes: Sequence[tuple[int, int]], options: DatasetOptions
) -> LabelledMap:
    """The satellite picture around a location with its street names.

    The photos that will be grafted on it share it, so no name stands where the widest and the highest of them
    (`photo_sizes`: width, height) will lie. Raises `NoImagery` where the source shows nothing of the place.
    """
    boxes = [graft_box(options.image_px, size, options.delta) for size in photo_sizes]
    hidden = (min(box[0] for box in boxes), 0, options.image_px, max(box[3] for box in boxes))
    places = city.photos.loc[city.photos["location"] == location, ["lat", "lon"]].mean()
    frame = Frame(LatLon(float(places["lat"]), float(places["lon"])), city.map_side_m, options.image_px)
    if options.control == "aside":
        frame = _aside(frame, hidden, generator(options.seed, "aside", location))
    satellite = _from_above(city, frame)
    if not options.labels:
        return LabelledMap(satellite, ())
    # Stitching halves the map, and its names with it.
    font_px = 2 * options.label_px if options.variant == "stitch" else options.label_px
    return draw_street_names(
        satellite,
        frame,
        city.streets,
        reserved=hidden if options.variant == "graft" else None,
        font_px=font_px,
        level=options.names_level,
        font=Path(options.font) if options.font else None,
    )


def _aside(frame: Frame, hidden: tuple[int, int, int, int], rng: np.random.Generator) -> Frame:
    """The frame moved so that its centre comes to lie anywhere that the photo does not hide."""
    edge = _EDGE * frame.size_px
    left, _, _, bottom = hidden
    while True:
        x, y = rng.uniform(edge, frame.size_px - edge, 2)
        if x < left - edge or y > bottom + edge:
            break
    per_px = frame.side_m / frame.size_px
    east, north = (frame.size_px / 2 - x) * per_px, (y - frame.size_px / 2) * per_px
    lat, lon = frame.projection.to_latlon(east, north)
    return replace(frame, centre=LatLon(float(lat), float(lon)))


def _spoilt_map(
    city: City,
    location: str,
    labelled: Image.Image,
    photo_sizes: Sequence[tuple[int, int]],
    options: DatasetOptions,
) -> Image.Image | None:
    """What a control shows in place of the labelled map, if anything; `location` is where it is from."""
    if options.control == "blank":
        return Image.new("RGB", labelled.size, _GREY)
    if options.control == "unnamed":
        return labelled_map(city, location, photo_sizes, replace(options, labels=False)).image
    if options.control == "elsewhere":
        return labelled_map(city, location, photo_sizes, options).image
    return None


def cross_street(city: City, row: pd.Series) -> str | None:
    """The second nearest street of a photo, if it meets the nearest one within 40 m of it.

    A street that runs parallel near by is none.
    """
    if not isinstance(row["runner_up"], str):
        return None
    projection = city.street_map.projection
    point = shapely.Point(*map(float, projection.to_xy(row["lat"], row["lon"])))
    lines = city.streets.set_index("name").geometry[[row["street"], row["runner_up"]]]
    nearest, second = lines.to_crs(projection.crs).intersection(point.buffer(_NEAR_M))
    return row["runner_up"] if nearest.distance(second) <= _GAP_M else None


def _from_above(city: City, frame: Frame) -> Image.Image:
    try:
        return city.satellite_source.image(frame)
    except UsageError:
        raise
    except AddressVLMError as error:
        raise NoImagery(str(error)) from error


def _compose(
    satellite: Image.Image, view: View, folder: Path, options: DatasetOptions, rights: str
) -> tuple[Pictures, tuple[str, ...]]:
    """Map and street view as the variant wants them, with the files that they are in."""
    photo, location = view.row["photo"], view.row["location"]
    if options.variant == "pair":
        return pair(satellite, view.image), (map_file(location), photo_file(photo))
    if options.variant == "graft":
        picture, file = graft(satellite, view.image, options.delta, photo_size=view.size), grafted_file(photo)
    else:
        picture, file = stitch(satellite, view.image, photo_size=view.size), stitched_file(photo)
    save_picture(picture, folder, file, rights)
    return picture, (file,)


def _hint(city: City, row: pd.Series, map_names: tuple[str, ...], options: DatasetOptions) -> Hint:
    return Hint(
        city=city.name,
        levels=city.levels,
        district=row["district"],
        street=row["street"],
        cross_street=cross_street(city, row),
        scene=row["scene"] if isinstance(row["scene"], str) else None,
        map_names=map_names,
        variant=options.variant,
        centred=options.control != "aside",
    )
