"""Calibrate a run on the validation photos of its data set."""

from pathlib import Path
from typing import Any

import numpy as np

from addressvlm.dataset.tables import read_questions
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import CONFIG, fingerprint, read_json
from addressvlm.inference.calibration import calibrate
from addressvlm.inference.localizer import Localizer
from addressvlm.work import say, track


def calibrate_run(localizer: Localizer, dataset: Path) -> dict[str, Any]:
    """Ask the run where every validation photo is, fit its calibration, and write it beside its model.

    Raises `UsageError` for another data set than the one that the run was trained on, whose validation photos
    it may have learned from.
    """
    if localizer.run is None:
        raise AddressVLMError("this model belongs to no run; a calibration is kept with a run")
    if not _learned_from(localizer.run, dataset):
        raise UsageError(
            f"{localizer.run} was trained on another data set than {dataset}, whose validation photos it may "
            "have seen in training; calibrate it on its own"
        )
    photos = read_questions(dataset, "val").drop_duplicates("photo")
    if photos.empty:
        raise AddressVLMError(
            f"the val split of {dataset} has no photos; make the data set with more locations"
        )
    pictures = [tuple(dataset / image for image in images) for images in photos["images"]]
    read = track(localizer.distributions(pictures), "photos", len(pictures))
    pairs = np.stack([beliefs["both"] for beliefs in read])
    calibration = calibrate(localizer.names, pairs, photos, fingerprint(dataset))
    calibration.save(localizer.run)
    return {
        "photos": len(photos),
        "known_addresses": len(calibration.truths["both"]),
        "temperature": calibration.temperature,
    }


def warn_of_other_data(run: Path, dataset: Path) -> None:
    """Say so where a run was trained on another data set: its test photos may be among the training ones."""
    if not _learned_from(run, dataset):
        say(
            f"{run} was trained on another data set than {dataset}; if that has photos of the same city, "
            "some that are asked about may have been learned from"
        )


def _learned_from(run: Path, dataset: Path) -> bool:
    return bool(read_json(run / CONFIG).get("dataset") == fingerprint(dataset))
