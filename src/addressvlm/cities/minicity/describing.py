"""What a view really shows, in words and as a dict, from what its primary rays hit.

A sign counts as legible when its front is turned to the camera and inside the picture, at least `SEEN` of it
is not hidden, its capitals are `CAPITAL_PX` high and its letters `LETTER_PX` wide. Nothing but a legible sign
ever tells the name of a street.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from addressvlm.cities.minicity.buildings import BASE_M, wall_height
from addressvlm.cities.minicity.ground import direction
from addressvlm.cities.minicity.look import LotLook
from addressvlm.cities.minicity.render import Camera, Tally
from addressvlm.cities.minicity.scene import Scene
from addressvlm.cities.minicity.signs import CAPITAL, Sign
from addressvlm.cities.minicity.templates import CAR_COLOURS, SPECIES

Floats = npt.NDArray[np.float64]

CAPITAL_PX = 6.0
LETTER_PX = 3.6
SEEN = 0.85
_TREE_WORDS = {
    "round": "leafy tree", "plane": "plane tree", "poplar": "poplar", "conifer": "fir tree", "palm": "palm",
    "cherry": "cherry tree in blossom", "ginkgo": "yellow ginkgo",
}  # fmt: skip
_LAMP_WORDS = {
    "arm": "lamps on arms",
    "globe": "globe lamps",
    "lantern": "lantern lamps",
    "twin": "twin-armed lamps",
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def look_at(scene: Scene, tally: Tally, camera: Camera, size_px: int) -> dict[str, Any]:
    """The facts of a view (JSON-able): buildings, trees, cars, ground, water, place and legible signs."""
    seen: dict[str, list[int]] = {}
    for thing in np.flatnonzero(tally.share > 0.0005):
        seen.setdefault(scene.mesh.things[thing].kind, []).append(int(thing))
    return {
        "buildings": _buildings(scene, tally, camera, seen.get("building", [])),
        "trees": _counted(scene, tally, seen.get("tree", []), list(SPECIES), 0.004),
        "cars": _counted(scene, tally, seen.get("car", []), list(CAR_COLOURS), 0.003),
        "lamps": _lamps(scene, tally, seen.get("lamp", [])),
        **_ground(scene, tally, seen),
        **_place(scene, tally, camera, seen),
        "signs": legible_signs(scene, tally, camera, size_px),
    }


def _side(column: float) -> str:
    return "left" if column < 0.36 else "right" if column > 0.64 else "middle"


def _buildings(scene: Scene, tally: Tally, camera: Camera, things: list[int]) -> list[dict[str, Any]]:
    large = sorted(
        (thing for thing in things if tally.share[thing] >= 0.025), key=lambda t: (-tally.share[t], t)
    )
    found = []
    for thing in large[:4]:
        look = scene.lots[scene.mesh.things[thing].ref].look
        front = scene.lots[scene.mesh.things[thing].ref].front
        whole = _top_in_view(look, float(tally.depth_m[thing]), camera)
        close = tally.share[thing] >= 0.05
        found.append(
            {
                "material": look.wall[0],
                "colour": look.wall[1],
                "storeys": look.storeys if whole else None,
                "roof": look.roof if whole and look.roof != "flat" else None,
                "window_frames": look.frame if close else None,
                "ground_floor": look.ground_floor if close and front else None,
                "awning": f"{look.awning} {look.awning_colour}" if look.awning != "none" and close else None,
                "relief": look.relief if look.relief != "none" and close and front else None,
                "side": _side(float(tally.column[thing])),
                "share": round(float(tally.share[thing]), 3),
            }
        )
    return found


def _top_in_view(look: LotLook, depth_m: float, camera: Camera) -> bool:
    """Whether the eaves of a building `depth_m` ahead are below the upper edge of the picture."""
    rise = np.degrees(np.arctan((BASE_M + wall_height(look) - camera.position[2]) / max(depth_m, 0.5)))
    return bool(rise < camera.pitch_deg + camera.fov_deg / 2)


def _counted(scene: Scene, tally: Tally, things: list[int], kinds: list[str], least: float) -> dict[str, int]:
    """How many things of each kind are large enough in the picture, the commonest first."""
    counts: dict[str, int] = {}
    for thing in things:
        if tally.share[thing] >= least:
            kind = kinds[scene.mesh.things[thing].ref]
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _lamps(scene: Scene, tally: Tally, things: list[int]) -> str | None:
    near = [thing for thing in things if tally.share[thing] >= 0.0008]
    if not near:
        return None
    street = scene.mesh.things[max(near, key=lambda thing: (tally.share[thing], -thing))].ref
    return scene.looks.streets[street].lamp


def _ground(scene: Scene, tally: Tally, seen: dict[str, list[int]]) -> dict[str, Any]:
    """The carriageway that fills most of the picture, and which of water, park and bridge can be seen."""
    roads = [thing for thing in seen.get("road", []) if scene.mesh.things[thing].ref >= 0]
    paving = marking = None
    if roads:
        main = max(roads, key=lambda thing: (tally.share[thing], -thing))
        if tally.share[main] >= 0.02:
            look = scene.looks.streets[scene.mesh.things[main].ref]
            paving, marking = look.paving, look.marking if look.marking != "none" else None
    limits = {"river": 0.006, "park": 0.01, "bridge": 0.006, "pond": 0.003, "fields": 0.02, "zebra": 0.004}
    visible = [
        kind for kind, least in limits.items() if sum(tally.share[t] for t in seen.get(kind, [])) >= least
    ]
    return {"paving": paving, "marking": marking, "visible": visible}


def _place(scene: Scene, tally: Tally, camera: Camera, seen: dict[str, list[int]]) -> dict[str, Any]:
    """How the camera looks at its street, and whether a side street opens close by."""
    spot = np.array(camera.position[:2])
    street = min(scene.plan.streets, key=lambda item: (item.path.distance(shapely.Point(spot)), item.name))
    way = direction(street.path, spot)
    heading = np.radians(camera.heading_deg)
    slant = abs(float(way @ (np.sin(heading), np.cos(heading))))
    roads = [t for t in seen.get("road", []) if scene.mesh.things[t].ref >= 0 and tally.share[t] >= 0.01]
    corner = sum(tally.depth_m[thing] < 22.0 for thing in roads) >= 2
    looking = "along" if slant > 0.9 else "across" if slant < 0.45 else "aslant"
    return {"looking": looking, "corner": bool(corner)}


def legible_signs(scene: Scene, tally: Tally, camera: Camera, size_px: int) -> list[dict[str, str]]:
    """Texts of the signs that can be read in a picture of `size_px`, each once, from left to right."""
    found: dict[tuple[str, str], float] = {}
    for thing in np.flatnonzero(tally.share > 0):
        entry = scene.mesh.things[thing]
        if entry.kind == "sign":
            sign = scene.signs[entry.ref]
            if _is_legible(sign, float(tally.share[thing]), camera, size_px):
                found.setdefault((sign.kind, sign.text), float(tally.column[thing]))
    ordered = sorted(found.items(), key=lambda item: (item[1], item[0]))
    return [{"kind": kind, "text": text, "side": _side(column)} for (kind, text), column in ordered]


def _is_legible(sign: Sign, share: float, camera: Camera, size_px: int) -> bool:
    corner, right, up = (np.array(part) for part in (sign.corner, sign.right, sign.up))
    outward = np.cross(right, up)
    if outward @ (np.array(camera.position) - corner) <= 0:
        return False
    points = np.array([corner, corner + right, corner + right + up, corner + up])
    local = (points - camera.position) @ camera.basis().T
    if (local[:, 2] < 0.3).any():
        return False
    pixels = local[:, :2] / local[:, 2:] * (size_px / 2 / np.tan(np.radians(camera.fov_deg) / 2))
    if np.abs(pixels).max() > size_px / 2:
        return False
    edges = np.linalg.norm(pixels[[3, 2]] - pixels[[0, 1]], axis=1)
    width = np.linalg.norm(pixels[1] - pixels[0])
    area = 0.5 * abs(float(np.dot(pixels[:, 0], np.roll(pixels[:, 1], 1) - np.roll(pixels[:, 1], -1))))
    return bool(
        edges.min() / len(sign.lines) * CAPITAL >= CAPITAL_PX
        and width / max(map(len, sign.lines)) >= LETTER_PX
        and share * size_px**2 >= SEEN * area
    )


def describe(facts: dict[str, Any]) -> str:
    """The facts as a few plain English sentences."""
    sentences = [_view_sentence(facts)]
    sentences += [_building_sentence(building) for building in facts["buildings"][:3]]
    things = _things(facts)
    if things:
        sentences.append(f"There {'is' if things[0].startswith('a ') else 'are'} {_listed(things)}.")
    for sign in facts["signs"]:
        board = "A street sign" if sign["kind"] == "street" else "The sign of a shop"
        sentences.append(f'{board} reads "{sign["text"]}".')
    return " ".join(sentences)


_PAVING_WORDS = {
    "asphalt": "an asphalt street",
    "dark asphalt": "a street of dark asphalt",
    "cobbles": "a cobbled street",
    "concrete slabs": "a street of concrete slabs",
    "red brick paving": "a street paved with red brick",
}
_MARKING_WORDS = {
    "dashed white": " with a dashed white line",
    "double yellow": " with a double yellow line",
    "solid white": " with solid white lines",
    "tram rails": " with tram rails",
}


def _view_sentence(facts: dict[str, Any]) -> str:
    way = {"along": "A view along", "across": "A view across", "aslant": "A slanting view over"}[
        facts["looking"]
    ]
    paving = _PAVING_WORDS.get(facts["paving"], "a street")
    marking = _MARKING_WORDS.get(facts["marking"], "")
    return f"{way} {paving}{marking}{', at a corner' if facts['corner'] else ''}."


def _building_sentence(building: dict[str, Any]) -> str:
    side = {"left": "On the left", "right": "On the right", "middle": "In the middle"}[building["side"]]
    walls = {
        "brick": "brick",
        "stone": "stone",
        "concrete": "concrete",
        "tile": "tiled",
        "plaster": "plastered",
    }
    wall = walls.get(building["material"], "wooden")
    storeys = building["storeys"]
    tall = f" of {_number(storeys)} storey{'s' if storeys != 1 else ''}" if storeys else ""
    extras = {"shop": ["a shop"], "garage": ["a garage"]}.get(building["ground_floor"], [])
    if building["window_frames"]:
        extras.append(f"{building['window_frames']} window frames")
    if building["relief"]:
        extras.append({"cornice": "a cornice"}.get(building["relief"], building["relief"]))
    if building["awning"]:
        extras.append(f"a {building['awning'].removeprefix('plain ')} awning")
    if building["roof"]:
        extras.append("a hipped roof" if building["roof"] == "hip" else "a gabled roof")
    with_what = f", with {_listed(extras)}" if extras else ""
    article = "an" if building["colour"][0] in "aeiou" else "a"
    return f"{side} stands {article} {building['colour']} {wall} building{tall}{with_what}."


_SIGHTS = {
    "river": "a river",
    "bridge": "a bridge",
    "park": "a park",
    "pond": "a pond",
    "fields": "open fields",
    "zebra": "a zebra crossing",
}


def _things(facts: dict[str, Any]) -> list[str]:
    things = [_several(count, _TREE_WORDS[kind]) for kind, count in list(facts["trees"].items())[:2]]
    if facts["cars"]:
        things.append(_cars(facts["cars"]))
    things += [_SIGHTS[kind] for kind in facts["visible"]]
    return things + ([_LAMP_WORDS[facts["lamps"]]] if facts["lamps"] else [])


def _cars(cars: dict[str, int]) -> str:
    """`cars` counts by colour, the commonest first."""
    colour, total = next(iter(cars)), sum(cars.values())
    if total == 1:
        return f"a parked {colour} car"
    if cars[colour] == total:
        return f"{_number(total)} parked {colour} cars"
    return f"{_number(total)} parked cars" + (f", mostly {colour}," if 2 * cars[colour] > total else "")


def _several(count: int, word: str) -> str:
    if count == 1:
        return f"a {word}"
    plural = word.replace("tree", "trees") if "tree" in word else word + "s"
    return f"{_number(count)} {plural}"


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
