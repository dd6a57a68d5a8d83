"""What a describer is asked about a sample, and what of it the model to be trained will see.

The instructions are the same for all samples and come first, the pictures next, the hint last: so servers can
keep the beginning in their cache. The hint never reaches the question that is trained on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from addressvlm.dataset.describing import HINT, Hint, hinted_prompt
from addressvlm.dataset.files import photo_file
from addressvlm.dataset.labelcalls import Ask
from addressvlm.dataset.labelcheck import Truth
from addressvlm.dataset.labeloptions import LabelOptions
from addressvlm.dataset.options import Variant
from addressvlm.dataset.seeds import digest

# The rival's wording as the paper prints it, with the city's word for its districts (paper: neighborhood).
_GEOREASONER = (
    "Examine the image presented, and deduce from which {district} it was most likely captured, "
    "providing your rationale."
)
_GEOREASONER_HOW = (
    "Begin your response by confirming the {district} in which it is located, then substantiate your claim "
    "by analyzing the distinct architectural and streetscape style. Write two to four sentences. The facts "
    "on the last line are true: do not contradict them, name no other place, and do not say that they were "
    "given to you."
)
_WARMER = 0.2  # every further try


@dataclass(frozen=True)
class Prompts:
    """How the samples of a data set are asked about."""

    city: str
    levels: tuple[str, str]
    variant: Variant
    centred: bool  # whether photos were taken in the middle of their maps
    options: LabelOptions

    def ask(self, row: Mapping[str, Any], dataset: Path, number: int) -> Ask:
        """The call for try `number` (from 0) of a row of the alignment table."""
        instructions, hint = self._prompt(row)
        key = digest(self.options.seed, "label", row["photo"], number)
        return Ask(
            images=tuple(dataset / image for image in self.row(row)["images"]),
            instructions=instructions,
            hint=hint,
            temperature=min(2.0, round(self.options.temperature + _WARMER * number, 3)),
            seed=int.from_bytes(key[:4], "big") >> 1,
            max_tokens=self.options.max_tokens,
        )

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row as it is trained on, the answer still to come."""
        if self.options.prompt == "alignment":
            return dict(row)
        question = _GEOREASONER.format(district=self.levels[0])
        return {**row, "images": [photo_file(row["photo"])], "question": question, "map_names": []}

    def truth(self, row: Mapping[str, Any]) -> Truth:
        """What a label of the row must say."""
        if self.options.prompt == "alignment":
            return Truth(row["district"], row["street"], tuple(row["map_names"]))
        return Truth(row["district"], row["street"], street_hinted=False)

    def _prompt(self, row: Mapping[str, Any]) -> tuple[str, str]:
        if self.options.prompt == "alignment":
            hint = Hint(
                city=self.city,
                levels=self.levels,
                district=row["district"],
                street=row["street"],
                map_names=tuple(row["map_names"]),
                variant=self.variant,
                centred=self.centred,
            )
            instructions, _, last = hinted_prompt(hint).rpartition("\n")
            return instructions, last
        parts = (_GEOREASONER, _GEOREASONER_HOW)
        instructions = " ".join(part.format(district=self.levels[0]) for part in parts)
        facts = {"city": self.city, self.levels[0]: row["district"]}
        return instructions, f"{HINT}{json.dumps(facts, ensure_ascii=False)}"


def prompts_of(summary: Mapping[str, Any], config: Mapping[str, Any], options: LabelOptions) -> Prompts:
    """The prompts for a data set with this summary and config."""
    district, street = summary["levels"]
    return Prompts(
        summary["city"],
        (district, street),
        cast(Variant, config["variant"]),
        centred=config["control"] != "aside",
        options=options,
    )
