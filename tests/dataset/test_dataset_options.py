import subprocess
import sys
from typing import Any

import pytest

from addressvlm.dataset.options import DatasetOptions
from addressvlm.errors import UsageError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("delta", 0.0),
        ("delta", 1.2),
        ("delta", float("nan")),
        ("views_share", 0.0),
        ("locations_share", 1.01),
        ("variant", "collage"),
        ("split_by", "street"),
        ("rounds", 5),
        ("image_px", 0),
        ("font_px", 0.5),
        ("block_m", 0.0),
        ("split", (0.0, 0.5, 0.5)),
        ("split", (0.7, -0.2, 0.5)),
        ("split", (0.7, 0.3)),
        ("font", "level.ttf"),
    ],
)
def test_a_value_that_makes_no_sense_is_named_with_its_field(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^{field} is "):
        DatasetOptions(**{"name_style": "level", field: value})


def test_names_are_written_larger_on_larger_maps() -> None:
    assert DatasetOptions(image_px=336).label_px == 12
    assert DatasetOptions(image_px=144).label_px == 10
    assert DatasetOptions(font_px=20).label_px == 20


def test_names_stand_level_on_small_maps_unless_asked_otherwise() -> None:
    assert not DatasetOptions().names_level
    assert DatasetOptions(image_px=112).names_level
    assert not DatasetOptions(image_px=112, name_style="along").names_level
    assert DatasetOptions(name_style="level").names_level


def test_options_are_read_without_any_heavy_library() -> None:
    heavy = {"numpy", "pandas", "geopandas", "PIL"}
    code = f"import sys, addressvlm.dataset.options; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
