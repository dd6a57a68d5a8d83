"""Addresses from annotation files instead of ours: Pitts-IAL, SF-IAL and what is written like them.

{"000/000829_pitch1_yaw1.jpg": ["a street view of …", "… located in Downtown, specifically on a section of
 Liberty Avenue that …", "Liberty Avenue, Downtown (Delray Street, Downtown and …)"], …}
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from addressvlm.cities.photos import Offer
from addressvlm.cities.pitts import has_pitts_name, pitts_key
from addressvlm.cities.vprnames import FIELDS, has_vpr_name
from addressvlm.errors import AddressVLMError

_CANONICAL = re.compile(r"(?P<street>[^()]+), (?P<district>[^,()]+?) ?\(.*\)\.?", re.DOTALL)
_VERBOSE = re.compile(r"located in (?P<district>.+?), specifically on a section of (?P<street>.+?) that\b")


def annotated(offers: Sequence[Offer], files: Mapping[str, Path]) -> list[Offer]:
    """The offers with district, street and split of the annotations; `files` by the split they are of.

    A photo that no file names is rejected, for there is no label of the same source, and what is named but is
    not among the offers stands behind them with that reason. Raises `AddressVLMError` for a file that is not
    such JSON, and for a photo that stands in two of them.
    """
    notes: dict[str, tuple[str, str, Any]] = {}
    for split, path in files.items():
        for name, note in _read(path).items():
            key = photo_key(name)
            if key in notes:
                other = notes[key][0]
                raise AddressVLMError(f"annotations of {split}: {name!r} is in {other} too; leave one out")
            notes[key] = split, name, note
    labelled = [_labelled(offer, notes.pop(photo_key(offer.source), None)) for offer in offers]
    missing = [
        Offer(name, split=split, reason="is annotated, but there is no such file")
        for split, name, _ in notes.values()
    ]
    return labelled + missing


def photo_key(name: str) -> str:
    """What names a photo in annotations and on the disk alike.

    In Pitts250k that is the path from the folder of thousands on, with `queries_real` before it, since one
    file name is two places; also for copies under `@` names. Other `@` names are unique and stand for
    themselves, wherever they lie. Anything else is named by its path under the folder of the photos.
    """
    folder, _, base = name.rpartition("/")
    if has_pitts_name(base):
        return pitts_key(name)
    if not has_vpr_name(base):
        return name
    fields = dict(zip(FIELDS, base.removeprefix("@").split("@"), strict=False))
    original = f"{fields.get('pano_id', '')}_{fields.get('note', '')}.jpg"
    if not has_pitts_name(original):
        return base
    query = "queries_real/" if "queries" in folder.split("/") else ""
    return pitts_key(f"{query}{original}")


def address_in(note: Any) -> tuple[str, str] | None:
    """District and street of an annotation, or None where it has no address.

    The canonical address counts, "STREET, DISTRICT (CROSSINGS)"; else the verbose one, "… located in
    DISTRICT, specifically on a section of STREET that …". Captions are passed over, whatever the order.
    """
    texts = [text for text in (note if isinstance(note, list) else [note]) if isinstance(text, str)]
    for pattern, match in ((_CANONICAL, re.Pattern.fullmatch), (_VERBOSE, re.Pattern.search)):
        for text in reversed(texts):
            found = match(pattern, text.strip())
            if found:
                return found["district"].strip(), found["street"].strip()
    return None


def _labelled(offer: Offer, found: tuple[str, str, Any] | None) -> Offer:
    if offer.reason:
        return offer
    if found is None:
        return replace(offer, reason="is in no annotation")
    split, _, note = found
    address = address_in(note)
    if address is None:
        return replace(offer, split=split, reason="has an annotation without an address")
    return replace(offer, split=split, district=address[0], street=address[1])


def _read(path: Path) -> dict[str, Any]:
    try:
        notes = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise AddressVLMError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(notes, dict) or not notes:
        raise AddressVLMError(f"{path} holds no annotations: it is no object of image path → texts")
    return notes
