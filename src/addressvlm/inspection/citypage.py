"""`addressvlm city show`: a city on one page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from addressvlm.cities.city import City, load_city
from addressvlm.errors import AddressVLMError
from addressvlm.geo.places import LatLon
from addressvlm.imagery.satellite import Frame
from addressvlm.inspection.balance import counts
from addressvlm.inspection.cityfigures import city_figures, reasons, rejections
from addressvlm.inspection.corners import corners, near_corner
from addressvlm.inspection.thumbnails import Thumbnail, evenly, thumbnail, thumbnail_of_file
from addressvlm.pages.placemap import Colouring, place_map
from addressvlm.pages.rendering import page_environment, write_page

PAGE = "show.html"
_PLACES_SHOWN = 12
# Views fill the place beside the map, or a row of four below it as well.
_VIEWS_BESIDE, _VIEWS_SHOWN = 4, 8
_REJECTED_SHOWN, _CORNERS_SHOWN = 300, 100
_VIEW_PX, _MAP_PX = 200, 260

_ENVIRONMENT = page_environment("addressvlm.inspection")


@dataclass(frozen=True)
class Sight:
    """A location with some of its pictures."""

    location: str
    district: str
    street: str
    photos: int
    map: Thumbnail | None
    views: list[Thumbnail]


def show_city(folder: Path, page: Path | None = None) -> dict[str, Any]:
    """Write the page of a city (by default `show.html` in its folder); returns its figures and path."""
    city = load_city(folder)
    page = page or folder / PAGE
    figures = city_figures(city)
    rejected = rejections(city)
    ambiguous = corners(city.photos)
    write_page(
        page,
        _ENVIRONMENT,
        "city.html.j2",
        figures=figures,
        levels=city.levels,
        map=city_map(city),
        districts=counts(city.photos, "district"),
        streets=counts(city.photos, "street"),
        corners=ambiguous[:_CORNERS_SHOWN],
        corners_left=len(ambiguous) - len(ambiguous[:_CORNERS_SHOWN]),
        reasons=reasons(rejected),
        rejected=rejected[:_REJECTED_SHOWN],
        rejected_left=len(rejected) - len(rejected[:_REJECTED_SHOWN]),
        sights=sights(city),
        attribution=city.attribution,
        licence=city.licence,
    )
    return {**figures, "page": str(page)}


def city_map(city: City) -> dict[str, Any]:
    """The locations on the streets and districts, coloured by district, street, or nearness to a corner."""
    places = locations(city.photos)
    district, street = city.levels
    return place_map(
        city.streets,
        city.districts,
        places,
        [
            by_name(district, places["district"]),
            by_name(street, places["street"]),
            Colouring(
                "nearness to a corner",
                (places["near"] > 0).astype(int).tolist(),
                ("clear", "near a corner"),
                ("--clear", "--near"),
            ),
        ],
    )


def locations(photos: pd.DataFrame) -> pd.DataFrame:
    """A row a location: `lat`, `lon`, `photos`, `district`, `street` (the commonest), `near`, `told`."""
    near = photos.assign(near=near_corner(photos))
    # The commonest street and district of the views of a location, of equals the first in the alphabet.
    named = near.groupby(["location", "street", "district"]).size().rename("size").reset_index()
    named = named.sort_values(["size", "street", "district"], ascending=[False, True, True])
    places = near.groupby("location").agg(
        lat=("lat", "mean"), lon=("lon", "mean"), photos=("photo", "size"), near=("near", "sum")
    )
    places = places.join(named.drop_duplicates("location").set_index("location")[["district", "street"]])
    places["told"] = [_told(str(row.Index), row) for row in places.itertuples()]
    return places


def by_name(words: str, names: pd.Series) -> Colouring:
    """A colour for each name."""
    groups, found = pd.factorize(names, sort=True)
    return Colouring(words, groups.tolist(), [str(name) for name in found])


def sights(city: City) -> list[Sight]:
    """Some locations with their map and some of their views, evenly spread over the streets."""
    places = locations(city.photos).sort_values(["street", "district"], kind="stable")
    return [_sight(city, str(location)) for location in evenly(places.index.tolist(), _PLACES_SHOWN)]


def _sight(city: City, location: str) -> Sight:
    here = city.photos[city.photos["location"] == location].sort_values(["heading_deg", "photo"])
    with_picture = here[here["file"].notna()].to_dict("records")
    most = _VIEWS_SHOWN if len(with_picture) >= _VIEWS_SHOWN else _VIEWS_BESIDE
    views = [
        thumbnail_of_file(city.photo_path(row["file"]), _VIEW_PX, _view_words(row))
        for row in evenly(with_picture, most)
    ]
    return Sight(
        location,
        here["district"].iloc[0],
        here["street"].iloc[0],
        len(here),
        _map_of(city, here),
        [view for view in views if view is not None],
    )


def _map_of(city: City, here: pd.DataFrame) -> Thumbnail | None:
    centre = LatLon(float(here["lat"].mean()), float(here["lon"].mean()))
    try:
        image = city.satellite_source.image(Frame(centre, city.map_side_m, _MAP_PX))
    except AddressVLMError:  # no imagery of this place, or none at all
        return None
    return thumbnail(image, _MAP_PX, f"The surroundings of {here['street'].iloc[0]} from above")


def _view_words(row: dict[Any, Any]) -> str:
    heading = "" if pd.isna(row["heading_deg"]) else f", looking {row['heading_deg']:.0f}°"
    return f"{row['street']}, {row['district']}{heading}"


def _told(location: str, row: Any) -> list[str]:
    told = [
        f"{row.street}, {row.district}",
        f"{row.photos} photo{'s' if row.photos != 1 else ''} · {location}",
    ]
    return [*told, f"{row.near} of them near a corner"] if row.near else told
