"""What a run was made with: versions and devices, without names or paths of the machine."""

import os
import platform
from importlib import metadata
from typing import Any

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "tokenizers",
    "numpy",
    "pillow",
    "geopandas",
    "mapnik",
)


def versions() -> dict[str, str]:
    """Versions of Python, this project and the packages that decide results; absent ones are left out."""
    found = {"python": platform.python_version()}
    for package in ("addressvlm", *PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, Any]:
    """Versions, cores and accelerators."""
    import torch

    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "versions": versions(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "accelerators": devices or ["none"],
    }
