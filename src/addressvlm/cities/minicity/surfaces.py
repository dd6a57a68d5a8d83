"""What every point of a view shows: the surfaces of a scene by name, as labels for learning to see."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from addressvlm.cities.minicity.look import PAVEMENTS, PAVINGS, ROOF_COLOURS, TREES, WALLS, YARDS
from addressvlm.cities.minicity.mesh import ROOF, Thing
from addressvlm.cities.minicity.templates import CAR_COLOURS, SPECIES

if TYPE_CHECKING:
    from addressvlm.cities.minicity.scene import Scene

# A surface's number is its place in here; 0 is the sky, 1 all that has no name of its own.
SURFACES = (
    "sky",
    "other",
    *("sign", "lamp", "zebra", "kerb", "trunk", "railing", "bridge"),
    *("river", "embankment", "park", "quay", "path", "pond", "fields", "hills"),
    *(f"road, {paving}" for paving in PAVINGS),
    *(f"pavement, {pavement}" for pavement in PAVEMENTS),
    *(f"yard, {yard}" for yard in YARDS),
    *(f"tree, {tree}" for tree in TREES),
    *(f"car, {colour}" for colour in CAR_COLOURS),
    *(f"roof, {colour}" for colour in ROOF_COLOURS),
    *(f"wall, {material}, {colour}" for material, colour in WALLS),
)
_NUMBER = {name: number for number, name in enumerate(SURFACES)}


def surface_numbers(scene: "Scene") -> npt.NDArray[np.uint8]:
    """The surface of every triangle of the scene's mesh, and behind them the sky: (triangles + 1,)."""
    mesh = scene.mesh
    numbers = np.array([_NUMBER.get(_name(scene, thing), 1) for thing in mesh.things], np.uint8)[mesh.thing]
    roofs = mesh.material == ROOF  # buildings alone have them
    lots = np.array([thing.ref for thing in mesh.things])[mesh.thing[roofs]]
    colours = np.array([_NUMBER[f"roof, {lot.look.roof_colour}"] for lot in scene.lots], np.uint8)
    numbers[roofs] = colours[lots]
    return np.append(numbers, np.uint8(0))


def _name(scene: "Scene", thing: Thing) -> str:
    kind, ref = thing.kind, thing.ref
    if kind == "building":
        return "wall, " + ", ".join(scene.lots[ref].look.wall)
    if kind == "road":
        return f"road, {scene.looks.streets[ref].paving if ref >= 0 else 'asphalt'}"
    if kind == "pavement":
        return f"pavement, {scene.looks.districts[ref].pavement}" if ref >= 0 else "bridge"
    if kind == "yard":
        return f"yard, {scene.looks.districts[ref].yard}"
    if kind == "tree":
        return f"tree, {list(SPECIES)[ref]}"
    return f"car, {CAR_COLOURS[ref]}" if kind == "car" else kind
