"""Addresses that a user gives instead of the nearest street and the district around."""

import difflib
from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from addressvlm.errors import UsageError
from addressvlm.geo.streets import StreetMap, clean_name, street_key

# What stands against a photo only as long as its address is not given.
_ADDRESSLESS = ("no named street within", "no district within")


def with_labels(city_map: StreetMap, photos: pd.DataFrame, aliases: Mapping[str, str]) -> pd.DataFrame:
    """The photos, addresses replaced where `label_district` and `label_street` give others.

    Names are looked up in the vectors, whatever their case and dots; `aliases` says how the vectors call what
    the labels call otherwise. A name that is not there rejects the photo, for it could not be shown on a map.
    `street_m` and `margin_m` are those of the street given; the nearest other street is the runner-up.
    """
    given = photos["label_street"] != ""
    open_ = photos["reason"].eq("") | photos["reason"].str.startswith(_ADDRESSLESS)
    which = given & open_
    if not which.any():
        return photos
    photos = photos.copy()
    names = {level: _rows(frame) for level, frame in _levels(city_map)}
    renamed = {street_key(name): clean_name(alias) for name, alias in aliases.items()}
    _refuse_unknown(aliases, names)
    labels = photos[which]
    rows: dict[str, pd.Series] = {}
    photos.loc[which, "reason"] = ""
    for level in ("street", "district"):
        told = labels[f"label_{level}"].map(lambda name: renamed.get(street_key(name), name))
        rows[level] = told.map(lambda name, known=names[level]: known.get(street_key(name), -1)).astype(int)
        for index in rows[level].index[rows[level] < 0]:
            photos.loc[index, "reason"] = (
                f"its {level} is not on the map: {labels.loc[index, f'label_{level}']}"
            )
    found = (rows["street"] >= 0) & (rows["district"] >= 0)
    index = labels.index[found]
    street, district = rows["street"][found].to_numpy(), rows["district"][found].to_numpy()
    return _filled(city_map, photos, index, street, district)


def agreement(photos: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Of the photos with labels, how many labels are what the vectors alone would have told."""
    if "near_street" not in photos:
        return {}
    labelled = photos[photos["label_street"] != ""]
    counts = {
        "photos": len(labelled),
        "district_as_geocoded": int((labelled["district"] == labelled["near_district"]).sum()),
        "street_as_geocoded": int((labelled["street"] == labelled["near_street"]).sum()),
    }
    return {"labels": counts}


def _filled(
    city_map: StreetMap, photos: pd.DataFrame, index: pd.Index, street: Any, district: Any
) -> pd.DataFrame:
    """The photos of the index with these rows of the map as their addresses."""
    photos["near_street"], photos["near_district"] = photos["street"], photos["district"]
    lines = city_map.streets.geometry.to_crs(city_map.projection.crs).to_numpy()
    here = photos.loc[index]
    x, y = city_map.projection.to_xy(here["lat"], here["lon"])
    street_m = shapely.distance(shapely.points(x, y), lines[street])
    names = city_map.streets["name"].to_numpy()[street]
    nearest = here["street"].to_numpy() == names
    runner_up = np.where(nearest, here["runner_up"], here["street"])
    runner_up_m = np.where(nearest, here["street_m"] + here["margin_m"], here["street_m"])
    photos.loc[index, "street"] = names
    photos.loc[index, "district"] = city_map.districts["name"].to_numpy()[district]
    photos.loc[index, "street_m"] = street_m
    photos.loc[index, "runner_up"] = runner_up
    photos.loc[index, "margin_m"] = runner_up_m - street_m
    return photos


def _levels(city_map: StreetMap) -> tuple[tuple[str, gpd.GeoDataFrame], ...]:
    return ("street", city_map.streets), ("district", city_map.districts)


def _rows(frame: gpd.GeoDataFrame) -> dict[str, int]:
    return {street_key(name): row for row, name in enumerate(frame["name"])}


def _refuse_unknown(aliases: Mapping[str, str], names: Mapping[str, Mapping[str, int]]) -> None:
    known = {key for level in names.values() for key in level}
    for label, alias in aliases.items():
        if street_key(alias) not in known:
            near = difflib.get_close_matches(street_key(alias), sorted(known), n=1, cutoff=0.0)[0]
            raise UsageError(
                f"label_aliases: {label!r} = {alias!r}, but the vectors have no such name; "
                f"the nearest is {near!r}"
            )
