"""From a city folder to a data set folder: pictures, conversations, questions, gazetteer."""

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from addressvlm.cities.city import City, load_city
from addressvlm.dataset.apart import SPLITS, apart
from addressvlm.dataset.describing import Describe, rule_based_describe
from addressvlm.dataset.gazetteer import GAZETTEER, gazetteer, write_gazetteer
from addressvlm.dataset.localization import question_rows, training_rows, vocabulary
from addressvlm.dataset.options import DatasetOptions
from addressvlm.dataset.pictures import PARTS, Part, Place, Task, make_pictures
from addressvlm.dataset.questions import LEVELS, Vocabulary
from addressvlm.dataset.seeds import generator
from addressvlm.dataset.splits import split_locations, thin_out
from addressvlm.dataset.tables import SCHEMAS, table_path, write_table
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import fingerprint, open_step, require_complete, sha256
from addressvlm.imagery.labelling import unwritable
from addressvlm.work import Workers, say

Counts = Counter[tuple[str, str, str]]
Sample = dict[str, Any]


def build_dataset(
    city_folder: Path,
    out: Path,
    options: DatasetOptions | None = None,
    *,
    workers: Workers = None,
    describe: Describe = rule_based_describe,
    **fields: Any,
) -> dict[str, Any]:
    """Make the data set of a city in `out`, or finish what an earlier call began; returns its summary.

    `fields` are single fields of `DatasetOptions`, instead of or over `options`. `describe` writes the labels
    of the alignment stage; it must be picklable, unless `workers` is 1. The bytes depend on the city, the
    options and `describe` only, not on `workers` or on interruptions.

    Raises `AddressVLMError` where the city is incomplete, too small to be split, or knows fewer than two
    streets; photos that cannot be opened are left out and named in the summary.
    """
    options = replace(options or DatasetOptions(), **fields)
    city = load_city(city_folder)
    mark = fingerprint(city_folder)
    # Of a font counts what it is, not where it lies.
    decisive = {**asdict(options), "font": _font_digest(options)}
    config = {"city": city.name, "fingerprint": mark, **decisive, "describe": _name(describe)}
    with open_step(out, "dataset", config) as step:
        summary = step.summary
        if summary is None:
            unwritten = _unwritten_streets(city, options)
            photos, left_out = _split_photos(city, options)
            words = _vocabulary(city, photos["train"])
            photos["train"] = thin_out(photos["train"], options)
            parts = list(
                make_pictures(
                    Task(city_folder, mark, out, options, describe), _places(photos, options), workers
                )
            )
            summary = step.finish(
                _tables(city, out, options, _Made(photos, left_out, words, parts, unwritten)), flush=True
            )
        shutil.rmtree(out / PARTS, ignore_errors=True)
        return summary


@dataclass(frozen=True)
class _Made:
    """What the tables are written from: photos by split, how many were too near to another split, names for
    questions, what became of pictures, how many streets have names that the font lacks letters of."""

    photos: Mapping[str, pd.DataFrame]
    left_out: Mapping[str, int]
    words: Vocabulary
    parts: list[Part]
    unwritten_streets: int


def _font_digest(options: DatasetOptions) -> str | None:
    if options.font is None:
        return None
    if not Path(options.font).is_file():
        raise UsageError(f"font: there is no file {options.font}")
    unwritable((), font=Path(options.font))  # says if it is no font
    return sha256(Path(options.font))


def _unwritten_streets(city: City, options: DatasetOptions) -> int:
    """How many names of the city's streets can stand on no map for want of letters; some are told at once."""
    if not options.labels:
        return 0
    names, font = city.streets["name"], Path(options.font) if options.font else None
    lacking = unwritable(names, level=options.names_level, font=font)
    if lacking:
        style = " --name-style along" if options.names_level else ""
        say(
            f"{len(lacking)} of {len(names)} street names, such as {lacking[0]!r}, will stand on no map, "
            f"because the font lacks their letters; name one that has them: --font FILE{style}"
        )
    return len(lacking)


def _split_photos(city: City, options: DatasetOptions) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """The city's photos by split, each sorted by photo, and how many were left out to keep splits apart."""
    if city.photos["file"].isna().any():
        raise AddressVLMError(
            f"{city.name} has places but no photos: it was built with images = false; build it with photos"
        )
    for column in ("photo", "location"):
        strange = [value for value in city.photos[column] if not re.fullmatch(r"[A-Za-z0-9_-]+", str(value))]
        if strange:
            raise AddressVLMError(
                f"{column} {strange[0]!r} of {city.name} is no id (letters, digits, '-', '_'); "
                "build the city again"
            )
    split = city.photos["location"].map(split_locations(city.photos, options))
    in_order = city.photos.sort_values("photo")
    dealt = {name: in_order[split == name] for name in SPLITS}
    kept = apart(dealt, options.apart_m)
    photos: dict[str, pd.DataFrame] = {name: kept[name].reset_index(drop=True) for name in SPLITS}
    return photos, {name: len(dealt[name]) - len(photos[name]) for name in SPLITS}


def _vocabulary(city: City, training: pd.DataFrame) -> Vocabulary:
    words = vocabulary(city.levels, training)
    if len(words.street.names) < 2:
        raise AddressVLMError(
            f"the training photos of {city.name} lie on one {city.levels[1]} only "
            f"({words.street.names[0]}): there is nothing to tell apart; add photos of others"
        )
    return words


def _places(photos: Mapping[str, pd.DataFrame], options: DatasetOptions) -> list[Place]:
    places = [
        Place(str(location), tuple(group), split == "train")
        for split, table in photos.items()
        for location, group in table.groupby("location")["photo"]
    ]
    if options.control != "elsewhere":
        return places
    # Each training location gets the map of the one behind it in a random circle: never its own.
    training = sorted(place.location for place in places if place.training)
    circle = [training[index] for index in generator(options.seed, "elsewhere").permutation(len(training))]
    behind = dict(zip(circle, circle[1:] + circle[:1], strict=True))
    return [replace(place, elsewhere=behind.get(place.location, "")) for place in places]


def _shuffled(samples: list[Sample], seed: int) -> list[Sample]:
    """The samples with each other's texts; what is known of their photos stays."""
    order = generator(seed, "shuffled").permutation(len(samples))
    texts = [samples[index]["answer"] for index in order]
    return [{**sample, "answer": text} for sample, text in zip(samples, texts, strict=True)]


def _tables(city: City, out: Path, options: DatasetOptions, made: _Made) -> dict[str, Any]:
    """Write the tables and the gazetteer; returns the summary."""
    skipped = {photo: reason for part in made.parts for photo, reason in part.skipped.items()}
    photos = {split: table[~table["photo"].isin(skipped)] for split, table in made.photos.items()}
    samples = sorted(
        (sample for part in made.parts for sample in part.samples), key=lambda sample: str(sample["photo"])
    )
    if options.control == "shuffled":
        samples = _shuffled(samples, options.seed)
    if not samples:
        reasons = [*skipped.values(), *(part.without_map for part in made.parts if part.without_map)]
        raise AddressVLMError(f"no training photo of {city.name} could be aligned with a map: {reasons[0]}")
    rows = {
        "train": training_rows(photos["train"], made.words, rounds=options.rounds, seed=options.seed),
        "val": question_rows(photos["val"], made.words, seed=options.seed),
        "test": question_rows(photos["test"], made.words, seed=options.seed),
    }
    counts: dict[str, Counts] = {split: Counter() for split in SPLITS}
    write_table(out, "alignment", samples)
    for split in SPLITS:
        write_table(out, split, _counted(rows[split], counts[split]))
    write_table(out, "locations", _locations(photos))
    write_gazetteer(gazetteer(city, photos["train"]), out)
    return {
        "city": city.name,
        "levels": list(city.levels),
        "attribution": city.attribution,
        "licence": city.licence,
        **_annotations(city),
        "alignment": {"samples": len(samples), "maps": len({sample["location"] for sample in samples})},
        "splits": {split: _split_summary(photos[split], counts[split]) for split in SPLITS},
        "dropped_no_judgments": {split: _dropped(photos[split], counts[split]) for split in ("val", "test")},
        **({"too_near_to_another_split": dict(made.left_out)} if options.apart_m else {}),
        "skipped": {
            "photos": skipped,
            "maps": sorted({part.without_map for part in made.parts if part.without_map}),
        },
        "unwritten_streets": made.unwritten_streets,
        "sha256": _digests(out, made.parts),
    }


def _annotations(city: City) -> dict[str, Any]:
    """Whose addresses the photos have, where they are not those of the map (`cities.labels.agreement`)."""
    about = require_complete(city.folder)
    return {"annotations": about["labels"]} if "labels" in about else {}


def _locations(photos: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Where the locations lie, sorted by location: nothing learns from it, but leaks can be looked for."""
    rows = [
        {"location": location, "split": split, "lat": lat, "lon": lon}
        for split, table in photos.items()
        for location, lat, lon in table.groupby("location")[["lat", "lon"]].mean().itertuples()
    ]
    return sorted(rows, key=lambda row: str(row["location"]))


def _counted(rows: Iterable[Mapping[str, Any]], counts: Counts) -> Iterator[Mapping[str, Any]]:
    """Hand the rows on, counting their questions by kind, level and truth."""
    for row in rows:
        for asked in row.get("turns", [row]):
            counts[asked["kind"], asked["level"], asked.get("truth", "")] += 1
        yield row


def _split_summary(photos: pd.DataFrame, counts: Counts) -> dict[str, Any]:
    types: Counter[str] = Counter()
    for (kind, level, _), number in sorted(counts.items()):
        types[f"{kind} {level}"] += number
    return {
        "photos": len(photos),
        "locations": int(photos["location"].nunique()),
        **{f"{level}s": int(photos[level].nunique()) for level in LEVELS},
        "questions": counts.total(),
        "types": dict(types),
    }


def _dropped(photos: pd.DataFrame, counts: Counts) -> dict[str, int]:
    """How many photos have no judgment with the truth No, because the name drawn for it was the true one."""
    return {level: len(photos) - counts["judgment", level, "No"] for level in LEVELS}


def _digests(out: Path, parts: Sequence[Part]) -> dict[str, str]:
    """SHA-256 of every table, and one of all pictures together."""
    files = [*(table_path(out, name) for name in SCHEMAS), out / GAZETTEER]
    pictures = hashlib.sha256()
    for file, digest in sorted(pair for part in parts for pair in part.pictures.items()):
        pictures.update(f"{file} {digest}\n".encode())
    return {file.name: sha256(file) for file in files} | {"images": pictures.hexdigest()}


def _name(describe: Describe) -> str:
    return str(getattr(describe, "__qualname__", type(describe).__qualname__))
