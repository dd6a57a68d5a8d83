"""Models of others by their hub id: found where they were downloaded to. Nothing is downloaded here."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from addressvlm.errors import UsageError

# Where the weights of backbones that are too large for a package are published.
HUB = {
    "llava-phi3-mini": "xtuner/llava-phi-3-mini-hf",
    "llava-onevision-7b": "llava-hf/llava-onevision-qwen2-7b-ov-hf",
    "minicpm-v": "openbmb/MiniCPM-V-4.6",
}
_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def is_hub_id(name: str) -> bool:
    """Whether a name could be a hub id, `OWNER/NAME` or `OWNER/NAME@REVISION`."""
    return _ID.fullmatch(name) is not None


def downloaded(name: str) -> Path:
    """The folder of a hub id, or of a backbone published under one, in the cache of this machine.

    Raises UsageError with the command that downloads it.
    """
    hub_id, _, revision = HUB.get(name, name).partition("@")
    try:
        return Path(snapshot_download(hub_id, revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError):
        at = f" --revision {revision}" if revision else ""
        raise UsageError(
            f"the weights of {name!r} are not on this machine, and addressvlm downloads none; get them by "
            f"`hf download {hub_id}{at}`, behind which this name finds them, or give a folder that holds them"
        ) from None
