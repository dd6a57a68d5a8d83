"""Calibrate a run on the validation photos of its data set."""

from pathlib import Path
from typing import Any

import numpy as np

from addressvlm.dataset.tables import read_questions
from addressvlm.errors import AddressVLMError
from addressvlm.folders import fingerprint
from addressvlm.geo.places import Address
from addressvlm.inference.calibration import calibrate
from addressvlm.inference.localizer import Localizer
from addressvlm.work import track


def calibrate_run(localizer: Localizer, dataset: Path) -> dict[str, Any]:
    """Ask the run where every validation photo is, fit its calibration, and write it beside its model."""
    if localizer.run is None:
        raise AddressVLMError("this model belongs to no run; a calibration is kept with a run")
    photos = read_questions(dataset, "val").drop_duplicates("photo")
    if photos.empty:
        raise AddressVLMError(
            f"the val split of {dataset} has no photos; make the data set with more locations"
        )
    pictures = [tuple(dataset / image for image in images) for images in photos["images"]]
    read = track(localizer.distributions(pictures), "photos", len(pictures))
    pairs = np.stack([beliefs["both"] for beliefs in read])
    addresses = [Address(*names) for names in zip(photos["district"], photos["street"], strict=True)]
    calibration = calibrate(localizer.names, pairs, addresses, fingerprint(dataset))
    calibration.save(localizer.run)
    return {
        "photos": len(photos),
        "known_addresses": len(calibration.truths["both"]),
        "temperature": calibration.temperature,
    }
