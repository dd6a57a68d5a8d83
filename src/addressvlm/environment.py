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


def has_bf16() -> bool:
    """Whether this machine computes in bfloat16; elsewhere it is emulated, at a tenth of the speed."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))


def environment() -> dict[str, Any]:
    """Versions, cores, accelerators, and whether they have bfloat16, on which half the speed hangs."""
    import torch

    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "versions": versions(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "accelerators": devices or ["none"],
        "bfloat16": has_bf16(),
    }
