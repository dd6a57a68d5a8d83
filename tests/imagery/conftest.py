"""A four-street town and pictures made on the spot."""

from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from addressvlm.geo.places import LatLon
from addressvlm.geo.streets import StreetMap, street_map
from addressvlm.imagery.frames import Frame


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real samples are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def frame() -> Frame:
    """300 m on 300 px: one pixel is one metre."""
    return Frame(LatLon(48.77, 9.17), 300, 300)


@pytest.fixture(scope="session")
def town(frame: Frame) -> StreetMap:
    """Two streets across the middle, one bending below, one too short for its name, two districts."""
    streets = {
        "High Street": [(-400, 0), (400, 0)],
        "Mill Lane": [(-50, -400), (-50, 400)],
        "River Bend": [(-140, -100), (-60, -110), (20, -100), (90, -70), (140, -20)],
        "Saint Bartholomew Passage": [(60, 60), (90, 60)],
    }
    districts = {"East": (0, -500, 500, 500), "West": (-500, -500, 0, 500)}
    return street_map(
        _places(frame, {name: shapely.LineString(line) for name, line in streets.items()}),
        _places(frame, {name: shapely.box(*box) for name, box in districts.items()}),
    )


def _places(frame: Frame, shapes: dict[str, shapely.Geometry]) -> gpd.GeoDataFrame:
    """Shapes in metres east and north of the frame's centre, in WGS84."""
    plane = gpd.GeoSeries(list(shapes.values()), crs=frame.projection.crs)
    return gpd.GeoDataFrame({"name": list(shapes)}, geometry=plane.to_crs(4326))
