from pathlib import Path

import pytest
from scripttown import write_files

from addressvlm.cities.build import build_city
from addressvlm.dataset.build import build_dataset


@pytest.fixture(scope="session")
def script_town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The city folder of the town. Tests must not change it."""
    folder = tmp_path_factory.mktemp("script")
    build_city(write_files(folder / "files"), folder / "city", workers=1)
    return folder / "city"


@pytest.fixture(scope="session")
def script_data(script_town: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of the town. Tests must not change it."""
    out = tmp_path_factory.mktemp("script") / "data"
    build_dataset(script_town, out, image_px=96, workers=1)
    return out
