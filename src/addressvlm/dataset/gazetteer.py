"""The names of a city with their shapes: all that serving and evaluation need to know of it."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from addressvlm.cities.city import City
from addressvlm.folders import write_atomically

GAZETTEER = "gazetteer.parquet"


def gazetteer(city: City, training: pd.DataFrame) -> gpd.GeoDataFrame:
    """Every district and street of the city, one row a name, districts first, each level sorted by name.

    Columns: `level`, `name`, `spellings`, `districts` (of a street: those that its training photos lie in),
    `photos` (training photos with this name, 0 for names that are only on the map), `geometry`.
    """
    districts = _rows("district", city.districts, training, {})
    within = training.groupby("street")["district"].unique()
    streets = _rows(
        "street", city.streets, training, {str(name): sorted(found) for name, found in within.items()}
    )
    return gpd.GeoDataFrame(districts + streets, geometry="geometry", crs=city.streets.crs)


def write_gazetteer(names: gpd.GeoDataFrame, dataset: Path) -> None:
    """Write a gazetteer into the folder of a data set, atomically."""
    with write_atomically(dataset / GAZETTEER) as temporary:
        names.to_parquet(temporary, index=False, compression="zstd")


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
