"""The tables of a city folder, written so that equal cities have equal bytes."""

import csv
from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from addressvlm.folders import write_atomically

_TEXT, _NUMBER = pa.string(), pa.float64()
PHOTO_COLUMNS = {
    "photo": _TEXT,
    "location": _TEXT,
    "file": _TEXT,
    "lat": _NUMBER,
    "lon": _NUMBER,
    "heading_deg": _NUMBER,
    "pitch_deg": _NUMBER,
    "time": _TEXT,
    "district": _TEXT,
    "street": _TEXT,
    "street_m": _NUMBER,
    "runner_up": _TEXT,
    "margin_m": _NUMBER,
    "scene": _TEXT,
    "split": _TEXT,
}


def write_photos(path: Path, photos: pd.DataFrame) -> None:
    """Write the photos that were taken; what is missing becomes null, `split` is left out if all is."""
    told = {
        name: kind for name, kind in PHOTO_COLUMNS.items() if name != "split" or photos[name].notna().any()
    }
    columns = [pa.array(photos[name], kind, from_pandas=True) for name, kind in told.items()]
    with write_atomically(path) as temporary:
        pq.write_table(pa.table(columns, pa.schema(told)), temporary)


def write_places(path: Path, places: gpd.GeoDataFrame) -> None:
    """Write streets or districts as GeoParquet."""
    with write_atomically(path) as temporary:
        places.to_parquet(temporary, index=False)


def write_list(path: Path, table: pd.DataFrame, columns: Mapping[str, str]) -> None:
    """Write columns (name in the file → name in the frame) as CSV for people."""
    with write_atomically(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(columns)
        rows.writerows(zip(*(table[name] for name in columns.values()), strict=True))
