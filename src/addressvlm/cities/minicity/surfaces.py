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
    names = [_name(scene, thing) for thing in mesh.things]
    numbers = np.array([_NUMBER.get(name, 1) for name in names], np.uint8)[mesh.thing]
    roofs = [
        _NUMBER[f"roof, {scene.lots[thing.ref].look.roof_colour}"] if thing.kind == "building" else 1
        for thing in mesh.things
    ]
    is_roof = (mesh.material == ROOF) & np.array([thing.kind == "building" for thing in mesh.things])[
        mesh.thing
    ]
    numbers[is_roof] = np.array(roofs, np.uint8)[mesh.thing[is_roof]]
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
