"""The whole city as one mesh, with what is needed to say what a picture of it shows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from addressvlm.cities.minicity.buildings import add_building, add_shop_sign
from addressvlm.cities.minicity.config import MiniCityConfig
from addressvlm.cities.minicity.furniture import Furnisher
from addressvlm.cities.minicity.ground import add_bridges, add_ground, find_crossings
from addressvlm.cities.minicity.look import Looks
from addressvlm.cities.minicity.lots import Lot, lay_lots
from addressvlm.cities.minicity.mesh import Mesh, MeshBuilder
from addressvlm.cities.minicity.names import Namer
from addressvlm.cities.minicity.plan import Plan
from addressvlm.cities.minicity.signs import Atlas, Sign, draw_atlas, street_lines

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """Meshes, lettering, light, and the tables that things of the mesh refer to."""

    plan: Plan
    looks: Looks
    lots: tuple[Lot, ...]
    signs: tuple[Sign, ...]  # in the order of the mesh's things of kind "sign"
    mesh: Mesh
    atlas: Atlas
    sun: Floats  # (3,) unit vector towards the sun


def build_scene(config: MiniCityConfig, plan: Plan) -> Scene:
    """Build the scene of a plan."""
    looks = Looks(config, [street.rank for street in plan.streets], len(plan.districts))
    builder = MeshBuilder()
    crossings = find_crossings(plan.streets)
    add_ground(builder, config, plan, looks, crossings)
    add_bridges(builder, config, plan)
    lots = lay_lots(config, plan, looks)
    texts = [street_lines(street.name) for street in plan.streets]
    signs = Furnisher(builder, config, plan, looks, lots).furnish(crossings)
    namer = Namer(config.naming, config.rng(60))
    for index, lot in enumerate(lots):
        rng = config.rng(61, index)
        add_building(builder, lot, index, rng)
        if lot.look.ground_floor == "shop":
            text = namer.shop(lot.look.shop, plan.streets[lot.street].name)
            signs.append(add_shop_sign(builder, lot, text, len(texts), rng))
            texts.append((text,))
    return Scene(plan, looks, tuple(lots), tuple(signs), builder.mesh(), draw_atlas(texts), _sun(config))


def _sun(config: MiniCityConfig) -> Floats:
    """An afternoon sun; its place is the city's own."""
    rng = config.rng(62)
    azimuth, height = np.radians(rng.uniform(195, 250)), np.radians(rng.uniform(36, 48))
    flat = np.cos(height)
    return np.round([np.sin(azimuth) * flat, np.cos(azimuth) * flat, np.sin(height)], 6)
