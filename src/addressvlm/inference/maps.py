"""A belief over streets as files that people open: GeoJSON, a picture, a page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import shapely
from PIL import ImageOps

from addressvlm.errors import AddressVLMError
from addressvlm.folders import write_json
from addressvlm.geo.places import LatLon
from addressvlm.imagery.opening import data_uri, open_image
from addressvlm.imagery.streetplot import plot_streets, street_colours, streets_svg
from addressvlm.pages.rendering import page_environment, write_page

GEOJSON, PNG, HTML = "streets.geojson", "streets.png", "locate.html"

_DEGREE_DECIMALS = 7  # a centimetre
_DRAWN_FROM = 0.002  # fainter beliefs are left grey: they would be hardly more than that
_MAP_PX, _PHOTO_PX = 760, 420

_ENVIRONMENT = page_environment("addressvlm.inference")


def write_maps(
    out: Path,
    located: Mapping[str, Any],
    probabilities: Mapping[str, float],
    gazetteer: gpd.GeoDataFrame,
    photos: Sequence[Path],
    *,
    near: LatLon | None = None,
    levels: tuple[str, str] = ("district", "street"),
    attribution: str = "",
) -> dict[str, str]:
    """Write GeoJSON, PNG and a self-contained page into `out`; gives their paths.

    `located` is what `locate` tells, `probabilities` that of every street of the gazetteer.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AddressVLMError(f"cannot make the folder {out}: {error.strerror or error}") from error
    write_geojson(out / GEOJSON, probabilities, gazetteer)
    drawn = {name: value for name, value in probabilities.items() if value >= _DRAWN_FROM}
    plot_streets(
        gazetteer, drawn, out / PNG, title=located["in_words"], attribution=attribution, point=near,
        point_name="rough position",
    )  # fmt: skip
    write_page(
        out / HTML,
        _ENVIRONMENT,
        "locate.html.j2",
        located=located,
        levels=levels,
        map=streets_svg(gazetteer, drawn, _MAP_PX),
        colours=street_colours(drawn),
        photos=[data_uri(ImageOps.contain(open_image(photo), (_PHOTO_PX, _PHOTO_PX))) for photo in photos],
        attribution=attribution,
    )
    return {"geojson": str(out / GEOJSON), "map": str(out / PNG), "page": str(out / HTML)}


def write_geojson(path: Path, probabilities: Mapping[str, float], gazetteer: gpd.GeoDataFrame) -> None:
    """Write streets with their probabilities as a GeoJSON FeatureCollection (WGS84), the likeliest first."""
    streets = gazetteer[gazetteer["level"] == "street"].set_index("name")
    features = [
        {
            "type": "Feature",
            "properties": {
                "name": name,
                "probability": value,
                "districts": list(streets["districts"][name]),
            },
            "geometry": _as_geojson(streets.geometry[name]),
        }
        for name, value in sorted(probabilities.items(), key=lambda item: (-item[1], item[0]))
    ]
    write_json(path, {"type": "FeatureCollection", "features": features})


def _as_geojson(geometry: shapely.Geometry) -> Any:
    rounded = shapely.transform(geometry, lambda degrees: degrees.round(_DEGREE_DECIMALS))
    return json.loads(shapely.to_geojson(rounded))
