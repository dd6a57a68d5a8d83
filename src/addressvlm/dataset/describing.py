"""Labels of the alignment stage (Sec. 3.2, Fig. 3): where a photo was taken, and why map and photo agree.

A describer is given the picture and a prompt whose last line hints at the true address; the model to be
trained sees the picture and a plain question, never the hint. The paper's describer is a large
vision-language model; it fits behind the same `describe(image, prompt) -> str` as the rule-based one here,
which is blind and knows only what the hint says.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from PIL import Image

from addressvlm.dataset.options import Variant
from addressvlm.dataset.seeds import generator
from addressvlm.dataset.wording import capital, one_of
from addressvlm.errors import UsageError

# The picture of a sample, or its two for `pair`.
Pictures = Image.Image | tuple[Image.Image, ...]
Describe = Callable[[Pictures, str], str]

HINT = "Hint: "
# How the pictures are introduced, and what the street view and the map are called.
_LAYOUTS: dict[Variant, tuple[str, str, str]] = {
    "graft": (
        "The image is a satellite view with a street view pasted into its right-upper corner.",
        "the street view in the right-upper corner",
        "the satellite view",
    ),
    "stitch": (
        "The image shows a satellite view on the left and a street view on the right.",
        "the street view on the right",
        "the satellite view on the left",
    ),
    "pair": (
        "The first image is a satellite view, the second image is a street view.",
        "the street view in the second image",
        "the satellite view in the first image",
    ),
}


@dataclass(frozen=True)
class Hint:
    """What the writer of a label is told: facts about the photo, none of which may be contradicted.

    `cross_street` is a street that meets `street` near the photo; `scene` says in words what the photo shows;
    `map_names` are the street names that can be read on the map; `centred` says whether the photo was taken
    in the middle of it.
    """

    city: str
    levels: tuple[str, str]
    district: str
    street: str
    cross_street: str | None = None
    scene: str | None = None
    map_names: tuple[str, ...] = ()
    variant: Variant = "graft"
    centred: bool = True


def alignment_question(levels: Sequence[str], variant: Variant) -> str:
    """What the model is asked in the alignment stage, the hint hidden."""
    _, view, satellite = _LAYOUTS[variant]
    district, street = levels
    return f"On which {street} and in which {district} was {view} taken? Explain how it matches {satellite}."


def hinted_prompt(hint: Hint) -> str:
    """The prompt for the writer of a label: instructions, then the hint as one line of JSON.

    All that is the same for every photo of a data set comes first, so that a server can keep it in its cache.
    """
    layout, view, satellite = _LAYOUTS[hint.variant]
    district, street = hint.levels
    facts = {
        name: value
        for name, value in asdict(hint).items()
        if value not in (None, (), True) and name not in ("levels", "variant")
    }
    spot = "at the centre of" if hint.centred else "somewhere on"
    instructions = (
        f"{layout} {capital(view)} was taken {spot} {satellite}. Examine both and deduce on which "
        f"{street} and in which {district} {view} was taken, providing your rationale. Begin your response "
        f'with the address, for example: "Based on the visual clues provided in the image, {view} appears to '
        'be taken from a location near the intersection of STREET and CROSS STREET in DISTRICT." Then '
        f"substantiate it: match what {view} shows (buildings, roofs, trees, road) with what {satellite} "
        "shows (street names if there are any, the course of the streets, roofs, green). Write two to four "
        "sentences. The facts on the last line are true: do not contradict them, name no other street, and "
        "do not say that they were given to you."
    )
    hinted = {"variant": hint.variant, "levels": hint.levels, **facts}
    return f"{instructions}\n{HINT}{json.dumps(hinted, ensure_ascii=False)}"


def read_hint(prompt: str) -> Hint:
    """The hint in a prompt made by `hinted_prompt`."""
    line = prompt.rpartition("\n")[2]
    try:
        facts: Any = json.loads(line.removeprefix(HINT)) if line.startswith(HINT) else None
        known = {field.name for field in fields(Hint)}
        return Hint(**{name: _frozen(value) for name, value in facts.items() if name in known})
    except (ValueError, TypeError, AttributeError):
        raise UsageError(
            f"the last line of the prompt holds no hint: {line[:80]!r}; make prompts with `hinted_prompt`"
        ) from None


def rule_based_describe(image: Pictures, prompt: str) -> str:
    """Write a label from the hint in the prompt alone; the wording is drawn by the prompt's digest."""
    hint, rng = read_hint(prompt), generator("describe", prompt)
    sentences = [_address(hint, rng), *_seen(hint, rng), _on_map(hint, rng)]
    return " ".join(sentences)


def _address(hint: Hint, rng: np.random.Generator) -> str:
    _, view, _ = _LAYOUTS[hint.variant]
    if hint.cross_street:
        corner = f"{hint.street} and {hint.cross_street}"
        spot = one_of(rng, f"near the intersection of {corner}", f"near the corner of {corner}")
    else:
        spot = one_of(rng, f"on {hint.street}", f"along {hint.street}")
    place = f"{spot} in {hint.district}, {hint.city}"
    return one_of(
        rng,
        f"Based on the visual clues provided in the image, {view} appears to be taken from a location "
        f"{place}.",
        f"Based on the visual clues, {view} was taken {place}.",
        f"{capital(view)} appears to be taken {place}.",
        f"{capital(view)} shows a place {place}.",
    )


def _seen(hint: Hint, rng: np.random.Generator) -> list[str]:
    """What the street view shows, if anything is known: the scene's first sentence and one of the others."""
    scene = " ".join((hint.scene or "").split())
    first, *others = re.split(r"(?<=[.!?]) ", scene)
    if not first:
        return []
    first = re.sub(r"^(An?|The)\b", lambda article: article[1].lower(), first).rstrip(".")
    opening = one_of(rng, "The street view shows", "At street level one sees")
    return [f"{opening} {first}.", *([one_of(rng, *others)] if others else [])]


def _on_map(hint: Hint, rng: np.random.Generator) -> str:
    """What of the address the map shows: names only if they can be read there."""
    if not hint.centred:
        course = one_of(
            rng,
            f"On the satellite view the road of the photo is {hint.street}",
            f"The road that fits on the satellite view is {hint.street}",
        )
    elif hint.street not in hint.map_names:
        course = one_of(
            rng,
            f"The road at the centre of the satellite view is {hint.street}",
            f"The centre of the satellite view lies on {hint.street}",
        )
    else:
        course = one_of(
            rng,
            f"On the satellite view the road at the centre bears the name {hint.street}",
            f"The satellite view labels the road at its centre {hint.street}",
        )
    if hint.cross_street is None:
        return one_of(rng, f"{course}.", f"{course}, where the photo was taken.")
    if hint.cross_street in hint.map_names:
        return (
            f"{course}, and {hint.cross_street}, also labelled, {one_of(rng, 'meets', 'crosses')} it there."
        )
    return f"{course}, and {hint.cross_street} meets it there."


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
