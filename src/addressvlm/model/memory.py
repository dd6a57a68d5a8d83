"""How much memory is free, and what does not fit into it."""

from pathlib import Path

import psutil
import torch

from addressvlm.errors import AddressVLMError

_CGROUP = Path("/sys/fs/cgroup")


def free_bytes() -> int:
    """What can still be allocated: on the GPU of this process, or in main memory and its container."""
    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    available: int = psutil.virtual_memory().available
    return min(available, _left_in_container(available))


def require_room(needed: int, what: str) -> None:
    """Refuse what needs more bytes than are free, before it is begun."""
    free = free_bytes()
    if needed > free:
        raise AddressVLMError(f"{what} needs {gigabytes(needed)}, but {gigabytes(free)} are free")


def gigabytes(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _left_in_container(otherwise: int) -> int:
    """What the memory limit of this container leaves; cached files are given up for it."""
    try:
        limit = int((_CGROUP / "memory.max").read_text("ascii"))
        used = int((_CGROUP / "memory.current").read_text("ascii"))
        lines = (_CGROUP / "memory.stat").read_text("ascii").splitlines()
    except (OSError, ValueError):  # no container, or no limit ("max")
        return otherwise
    cached = next((int(line.split()[1]) for line in lines if line.startswith("file ")), 0)
    return max(0, limit - used + cached)
