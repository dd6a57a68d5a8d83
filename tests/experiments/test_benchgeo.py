from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely import LineString, box

from addressvlm.experiments import benchgeo
from addressvlm.experiments.benchgeo import bench_geocoding, publish_bench_geo


def test_the_lanes_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchgeo, "_AT_ONCE", 500)
    ends = np.random.default_rng(0).uniform(0, 0.01, (60, 2, 2)) + (9, 45)
    names = [f"Street {number % 25}" for number in range(60)]
    gpd.GeoDataFrame({"name": names}, geometry=[LineString(end) for end in ends], crs=4326).to_file(
        tmp_path / "streets.geojson"
    )
    gpd.GeoDataFrame({"name": ["All"]}, geometry=[box(8.9, 44.9, 9.1, 45.1)], crs=4326).to_file(
        tmp_path / "districts.geojson"
    )
    result = bench_geocoding(
        tmp_path / "streets.geojson", tmp_path / "districts.geojson", points=1200, compared=400
    )
    assert result["points"] == 1200
    assert 0.8 < result["with_an_address"] < 1
    assert result["geopandas"]["same"] == 1.0
    publish_bench_geo(result, tmp_path / "results", "a test")
    assert "ties aside" in (tmp_path / "results" / "bench-geocode.md").read_text("utf-8")
