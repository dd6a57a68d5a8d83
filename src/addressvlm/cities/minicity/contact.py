"""A sheet of pictures to judge a city by eye: street views with their addresses, and the city from above.

python -m addressvlm.cities.minicity.contact mini-pitts docs/images/mini-pitts.jpg
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from PIL import Image, ImageDraw

from addressvlm.cities.minicity.city import MiniCity
from addressvlm.cities.minicity.config import mini_city
from addressvlm.cities.minicity.signs import load_font

_GAP, _CAPTION = 6, 34


def contact_sheet(
    city: MiniCity, *, count: int = 12, columns: int = 4, side_px: int = 224, aerials: int = 2, seed: int = 0
) -> Image.Image:
    """`count` street views, as many streets as possible, with their addresses, and `aerials` from above.

    The satellite pictures show the surroundings (`map_side_m`) of some of the views, their place marked.
    """
    rng = np.random.default_rng(seed)
    views = city.views
    rows = [views.iloc[index] for index in _from_many_streets(city, rng, count)]
    tiles = []
    for row in rows:
        image = city.render({str(key): value for key, value in row.items()}).image.resize(
            (side_px, side_px), Image.Resampling.LANCZOS
        )
        tiles.append((image, "\n".join(_address(city, row["lat"], row["lon"]))))
    big = _sheet(tiles, columns, side_px)
    if not aerials:
        return big
    width = (big.width - _GAP * (aerials + 1)) // aerials
    maps = []
    for row in rows[:: max(1, len(rows) // aerials)][:aerials]:
        street, district = _address(city, row["lat"], row["lon"])
        maps.append((_around(city, row["lat"], row["lon"], width), f"around {street}\n{district}"))
    small = _sheet(maps, aerials, width)
    sheet = Image.new("RGB", (big.width, big.height + small.height), "white")
    sheet.paste(big, (0, 0))
    sheet.paste(small, (0, big.height))
    return sheet


def _from_many_streets(city: MiniCity, rng: np.random.Generator, count: int) -> list[int]:
    """Row numbers of `views`: another street each time until all had their turn."""
    views = city.views
    x, y = city.projection.to_xy(views["lat"], views["lon"])
    paths = shapely.STRtree([street.path for street in city.plan.streets])
    owner = paths.nearest(shapely.points(x, y))
    chosen: list[int] = []
    while len(chosen) < min(count, len(views)):
        for street in rng.permutation(np.unique(owner)):
            chosen.append(int(rng.choice(np.flatnonzero(owner == street))))
    return chosen[:count]


def _address(city: MiniCity, lat: float, lon: float) -> tuple[str, str]:
    x, y = city.projection.to_xy(lat, lon)
    spot = shapely.Point(float(x), float(y))
    street = min(city.plan.streets, key=lambda item: float(item.path.distance(spot)))
    district = min(city.plan.districts, key=lambda item: float(item.area.distance(spot)))
    return street.name, district.name


def _around(city: MiniCity, lat: float, lon: float, side_px: int) -> Image.Image:
    x, y = city.projection.to_xy(lat, lon)
    image = city.aerial(float(x), float(y), city.config.map_side_m, side_px).image
    draw = ImageDraw.Draw(image)
    middle, radius = side_px / 2, max(4, side_px // 60)
    box = (middle - radius, middle - radius, middle + radius, middle + radius)
    draw.ellipse(box, outline="white", fill=(220, 30, 30), width=2)
    return image


def _sheet(tiles: Sequence[tuple[Image.Image, str]], columns: int, side_px: int) -> Image.Image:
    rows = -(-len(tiles) // columns)
    width, height = side_px + _GAP, side_px + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (image, caption) in enumerate(tiles):
        left, top = _GAP + number % columns * width, _GAP + number // columns * height
        sheet.paste(image, (left, top))
        draw.text((left + 2, top + side_px + 3), caption, fill="black", font=load_font(12, "DejaVuSans.ttf"))
    return sheet


if __name__ == "__main__":
    # Four rays a pixel for people's eyes; cities are built with one. Seed 2 shows varied views.
    contact_sheet(MiniCity(mini_city(sys.argv[1], samples=2)), seed=2).save(Path(sys.argv[2]), quality=85)
