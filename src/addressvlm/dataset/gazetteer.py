"""The names of a city with their shapes: all that serving and evaluation need to know of it."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from addressvlm.cities.city import City
from addressvlm.folders import write_atomically

GAZETTEER = "gazetteer.parquet"

# A street that only touches a district, as at a shared border, is not one of its streets.
_AT_LEAST_M = 10.0


def gazetteer(city: City, training: pd.DataFrame) -> gpd.GeoDataFrame:
    """Every district and street of the city, one row a name, districts first, each level sorted by name.

    Columns: `level`, `name`, `spellings`, `districts` (of a street: those that it runs through, and those
    that its training photos lie in, which may be across a border), `photos` (training photos with this name,
    0 for names that are only on the map), `geometry`.
    """
    districts = _rows("district", city.districts, training, {})
    within = _runs_through(city)
    for street, district in zip(training["street"], training["district"], strict=True):
        within[street].add(district)
    streets = _rows(
        "street", city.streets, training, {street: sorted(found) for street, found in within.items()}
    )
    return gpd.GeoDataFrame(districts + streets, geometry="geometry", crs=city.streets.crs)


def write_gazetteer(names: gpd.GeoDataFrame, dataset: Path) -> None:
    """Write a gazetteer into the folder of a data set, atomically."""
    with write_atomically(dataset / GAZETTEER) as temporary:
        names.to_parquet(temporary, index=False, compression="zstd")


def _runs_through(city: City) -> defaultdict[str, set[str]]:
    """The districts in which some length of each street lies."""
    plane = city.street_map.projection.crs
    lines, areas = (shapes.geometry.to_crs(plane).to_numpy() for shapes in (city.streets, city.districts))
    street, district = shapely.STRtree(areas).query(lines, predicate="intersects")
    inside = shapely.length(shapely.intersection(lines[street], areas[district])) >= _AT_LEAST_M
    streets, districts = city.streets["name"].tolist(), city.districts["name"].tolist()
    within: defaultdict[str, set[str]] = defaultdict(set)
    for a, b in zip(street[inside], district[inside], strict=True):
        within[streets[a]].add(districts[b])
    return within


def _rows(
    level: str, shapes: gpd.GeoDataFrame, training: pd.DataFrame, within: dict[str, list[str]]
) -> list[dict[str, Any]]:
    photos = training[level].value_counts()
    return [
        {
            "level": level,
            "name": name,
            "spellings": [name],
            "districts": within.get(name, []),
            "photos": int(photos.get(name, 0)),
            "geometry": shape,
        }
        for name, shape in sorted(zip(shapes["name"], shapes.geometry, strict=True), key=lambda row: row[0])
    ]
