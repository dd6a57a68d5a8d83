"""The names that a run was trained with: districts, streets, and which street lies in which district."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from addressvlm.dataset.answers import joint_answer
from addressvlm.errors import AddressVLMError

if TYPE_CHECKING:
    import geopandas as gpd


@dataclass(frozen=True)
class Gazetteer:
    """The names of a city in a fixed order; a pair is (number of its district, number of its street).

    By level, `spellings` are those of every name, itself first, and `shares` how many of the training photos
    bear it, from 0 to 1.
    """

    districts: tuple[str, ...]
    streets: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    spellings: Mapping[str, tuple[tuple[str, ...], ...]]
    shares: Mapping[str, tuple[float, ...]]

    @staticmethod
    def of(table: "gpd.GeoDataFrame") -> "Gazetteer":
        """The gazetteer of a table with the columns of `dataset.gazetteer`."""
        levels = {level: table[table["level"] == level] for level in ("district", "street")}
        districts, streets = (tuple(rows["name"]) for rows in levels.values())
        if not districts or not streets:
            raise AddressVLMError(
                f"the gazetteer names {len(districts)} districts and {len(streets)} streets; it takes both"
            )
        numbers = {name: number for number, name in enumerate(districts)}
        pairs = tuple(
            (numbers[district], street)
            for street, within in enumerate(levels["street"]["districts"])
            for district in within
        )
        spellings = {
            level: tuple(
                tuple(dict.fromkeys((name, *others)))
                for name, others in zip(rows["name"], rows["spellings"], strict=True)
            )
            for level, rows in levels.items()
        }
        shares = {
            level: tuple((rows["photos"] / max(1, rows["photos"].sum())).tolist())
            for level, rows in levels.items()
        }
        return Gazetteer(districts, streets, pairs, spellings, shares)

    @cached_property
    def pair_numbers(self) -> dict[tuple[str, str], int]:
        """The number of every pair by its names, (district, street)."""
        return {
            (self.districts[district], self.streets[street]): number
            for number, (district, street) in enumerate(self.pairs)
        }

    @cached_property
    def pair_names(self) -> tuple[str, ...]:
        """Every pair as the answer to a joint question."""
        return tuple(
            joint_answer(self.districts[district], self.streets[street]) for district, street in self.pairs
        )
