from pathlib import Path
from shutil import copytree

import pandas as pd
import pytest

from addressvlm.dataset.build import build_dataset
from addressvlm.errors import AddressVLMError


def test_a_city_of_places_without_photos_is_refused(town: Path, tmp_path: Path) -> None:
    city = copytree(town, tmp_path / "city")
    photos = pd.read_parquet(city / "photos.parquet").assign(file=None)
    photos.to_parquet(city / "photos.parquet", index=False)
    with pytest.raises(AddressVLMError, match="images = false"):
        build_dataset(city, tmp_path / "data")
