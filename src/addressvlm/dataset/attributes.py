"""What can be said of a street view in single words: its attributes, as `NAME=VALUE`."""

from typing import Any

_BUILDINGS = 3  # the largest ones count


def attributes(view: dict[str, Any]) -> set[str]:
    """The attributes of a view, from the facts that the renderer tells about it."""
    found = {f"looking={view['looking']}", f"corner={view['corner']}"}
    for name in ("paving", "marking", "lamps"):
        found.add(f"{name}={view[name] or 'none'}")
    found |= {f"sight={sight}" for sight in view["visible"]}
    found |= {f"tree={kind}" for kind in view["trees"]}
    found |= {f"car={colour}" for colour in view["cars"]}
    for building in view["buildings"][:_BUILDINGS]:
        found |= {f"wall={building['material']}", f"colour={building['colour']}"}
        for name in ("storeys", "roof", "window_frames", "ground_floor", "awning", "relief"):
            if building[name] is not None:
                found.add(f"{name}={building[name]}")
    return found
