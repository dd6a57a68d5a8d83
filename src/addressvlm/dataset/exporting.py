"""`addressvlm export`: a data set for other tools, with a card that says what it is."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addressvlm.dataset.exports.card import write_card
from addressvlm.dataset.exports.folderfiles import write_imagefolder, write_llava, write_sharegpt
from addressvlm.dataset.exports.items import Export
from addressvlm.dataset.exports.lmmseval import write_lmms_eval
from addressvlm.dataset.exports.shards import write_parquet, write_webdataset
from addressvlm.dataset.exports.vlmevalkit import write_vlmevalkit
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import CONFIG, LOCK, SUMMARY, fingerprint, open_step, read_json, sha256


@dataclass(frozen=True)
class Format:
    """A format by what writes it, and what reads it in words."""

    write: Callable[[Export], None]
    read_by: str


FORMATS: Mapping[str, Format] = {
    "llava": Format(write_llava, "LLaVA and xtuner (conversations with `<image>`)"),
    "sharegpt": Format(write_sharegpt, "LLaMA-Factory (`dataset_info.json`)"),
    "imagefolder": Format(write_imagefolder, 'Hugging Face `load_dataset("imagefolder")`'),
    "parquet": Format(write_parquet, "Hugging Face `load_dataset` and its viewer"),
    "webdataset": Format(write_webdataset, "WebDataset (tar shards)"),
    "lmms-eval": Format(write_lmms_eval, "lmms-eval (`--include_path`)"),
    "vlmevalkit": Format(write_vlmevalkit, "VLMEvalKit (TSV)"),
}


def export_dataset(dataset: Path, out: Path, format_name: str) -> dict[str, Any]:
    """Write a complete data set into the folder `out` in a format of `FORMATS`; returns the summary.

    Pictures hold nothing but pixels and the attribution, coordinates are not exported. Photos whose pictures
    cannot be read are left out and named in the summary. The bytes depend on the data set and the format
    only; a killed export is continued by the same call.

    Raises `UsageError` for an unknown format or a folder that is no data set, and `AddressVLMError` where
    nothing could be exported.
    """
    if format_name not in FORMATS:
        said = f"there is no format {format_name!r}" if format_name else "say which format"
        raise UsageError(f"{said}; there are {', '.join(FORMATS)}")
    require_dataset(dataset)
    if out.resolve().is_relative_to(dataset.resolve()):
        raise UsageError(f"{out} lies in the data set; choose another folder")
    export = Export(dataset, out)
    config = {"format": format_name, "city": export.about["city"], "dataset": fingerprint(dataset)}
    with open_step(out, "export", config) as step:
        if step.summary is not None:
            return step.summary
        FORMATS[format_name].write(export)
        if not any(count["photos"] for count in export.counts.values()):
            reasons = [reason for some in export.skipped.values() for reason in some.values()]
            raise AddressVLMError(
                f"nothing of {dataset} could be exported: {(reasons or ['it is empty'])[0]}"
            )
        write_card(export, format_name, FORMATS[format_name].read_by)
        return step.finish(_summary(export, format_name), flush=True)


def require_dataset(folder: Path) -> None:
    """Raise unless `folder` holds a data set, made by `dataset build` or labelled by `label`."""
    if not folder.is_dir():
        raise AddressVLMError(f"there is no folder {folder}")
    config = folder / CONFIG
    step = read_json(config).get("step") if config.is_file() else None
    if step not in ("dataset", "labels"):
        what = f"is a {step} folder" if step else "was not made by addressvlm"
        raise UsageError(f"{folder} is no data set: it {what}; give one made by `dataset build` or `label`")


def _summary(export: Export, format_name: str) -> dict[str, Any]:
    own = (CONFIG, SUMMARY, LOCK)
    files = sorted(path for path in export.out.rglob("*") if path.is_file() and path.name not in own)
    digests = {path.relative_to(export.out).as_posix(): sha256(path) for path in files}
    pictures = {name: digest for name, digest in digests.items() if name.endswith(".jpg")}
    together = "".join(f"{digest}  {name}\n" for name, digest in pictures.items())
    return {
        "city": export.about["city"],
        "format": format_name,
        "parts": export.counts,
        "skipped": {part: reasons for part, reasons in export.skipped.items() if reasons},
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "sha256": {
            **{name: digest for name, digest in digests.items() if name not in pictures},
            **({"pictures": hashlib.sha256(together.encode()).hexdigest()} if pictures else {}),
        },
    }
