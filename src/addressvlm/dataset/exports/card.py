"""The card of an exported data set: what it is, whose it is, how it was made, what it is not for."""

import json
import re
from html import escape
from typing import Any

import jinja2

from addressvlm.dataset.exports.items import Export
from addressvlm.dataset.exports.naming import HUB_SPLITS, hub_config, slug
from addressvlm.folders import write_atomically

CARD = "README.md"

# Licences that the Hub knows by name; whatever else a city says is told in its own words.
_HUB_LICENCES = ("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "odbl", "mit")
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (float("inf"), "1M<n<10M"),
)
# How to read an export, by format; `NAME` is the city's in small ASCII letters.
_READING = {
    "llava": "python llava/train/train_mem.py --data_path train.json --image_folder .",
    "sharegpt": "llamafactory-cli train --dataset_dir . --dataset NAME_train …",
    "imagefolder": 'datasets.load_dataset("PATH/TO/THIS/FOLDER", "localization")',
    "parquet": 'datasets.load_dataset("PATH/TO/THIS/FOLDER", "localization")',
    "webdataset": 'webdataset.WebDataset("train-000000.tar").decode("pil").to_tuple("jpg", "json")',
    "lmms-eval": "python -m lmms_eval --include_path PATH/TO/THIS/FOLDER --tasks addressvlm_NAME …",
    "vlmevalkit": "LMUData=PATH/TO/THIS/FOLDER python run.py --data addressvlm_NAME_test_choice …",
}

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("addressvlm.dataset"),
    autoescape=False,  # noqa: S701  # Markdown: the filter `plain` takes markup out of what a user wrote
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def write_card(export: Export, format_name: str, read_by: str) -> None:
    """Write `README.md`, with the header that the Hugging Face Hub reads."""
    _ENVIRONMENT.filters["plain"] = plain
    text = _ENVIRONMENT.get_template("card.md.j2").render(
        header=_header(export, format_name),
        about=export.about,
        config=export.config,
        counts=export.counts,
        splits=export.about["splits"],
        skipped={part: len(reasons) for part, reasons in export.skipped.items() if reasons},
        read_by=read_by,
        reading=_READING[format_name].replace("NAME", slug(export.about["city"])),
        format=format_name,
    )
    with write_atomically(export.out / CARD) as temporary:
        temporary.write_text(text, "utf-8")


def plain(text: str) -> str:
    """What a user wrote as one line of Markdown that can be neither markup nor HTML."""
    line = " ".join(escape(str(text), quote=False).split())
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", line)


def _header(export: Export, format_name: str) -> str:
    """YAML; every value is written as JSON, which YAML takes, so nothing a user wrote can break out."""
    photos = sum(count["photos"] for count in export.counts.values())
    fields: dict[str, Any] = {
        "pretty_name": f"AddressVLM data set of {export.about['city']}",
        **_licence(str(export.about["licence"])),
        "language": ["en"],
        "task_categories": ["visual-question-answering"],
        "tags": ["geolocalization", "street-view", "addressvlm"],
        "size_categories": [next(words for most, words in _SIZES if photos < most)],
    }
    if format_name in ("parquet", "imagefolder"):
        fields["configs"] = _configs(export, format_name)
    return "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())


def _licence(licence: str) -> dict[str, str]:
    known = licence.lower().replace(" ", "-")
    if known in _HUB_LICENCES:
        return {"license": known}
    if not licence:
        return {"license": "unknown"}
    return {"license": "other", "license_name": licence}


def _configs(export: Export, format_name: str) -> list[dict[str, Any]]:
    files: dict[str, list[dict[str, str]]] = {}
    for part, split in HUB_SPLITS.items():
        if part in export.counts:
            config = hub_config(part)
            path = f"{config}/{split}-*.parquet" if format_name == "parquet" else f"{config}/{split}/**"
            files.setdefault(config, []).append({"split": split, "path": path})
    return [
        {
            "config_name": name,
            "data_files": of_config,
            **({"default": True} if name == "localization" else {}),
        }
        for name, of_config in files.items()
    ]
