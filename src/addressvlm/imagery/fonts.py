"""The typefaces of street names."""

from pathlib import Path

import matplotlib

_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FONT = _FOLDER / "DejaVuSans-Bold.ttf"  # along streets
MONOSPACED = _FOLDER / "DejaVuSansMono-Bold.ttf"  # level, in cells
