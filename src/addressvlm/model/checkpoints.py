"""Folders of weights that are whole or absent: a manifest with every file's digest, published by rename.

A folder is written under a temporary name, flushed, and renamed, so no reader sees half of one. Whoever
goes on from one checks the manifest first, and so notices a torn copy or a flipped byte. Weights are
safetensors only: a pickle could run code.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from addressvlm.errors import AddressVLMError
from addressvlm.folders import read_json, sha256, write_json
from addressvlm.work import say

MANIFEST = "manifest.json"
PREFIX = "checkpoint-"
_STAGING = ".staging-"
REMOTE_CODE = "ADDRESSVLM_REMOTE_CODE"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@contextmanager
def publish(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write into; on success it becomes `folder`, with a manifest, in one rename.

    A folder that stands there already is replaced. Leftovers of killed writers are removed.
    """
    staging = folder.with_name(f"{_STAGING}{folder.name}")
    try:
        with writing(folder):
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            yield staging
            write_json(staging / MANIFEST, {"files": digests(staging)})
            for path in [*_files(staging), *(p for p in staging.rglob("*") if p.is_dir()), staging]:
                _flush(path)
            if folder.exists():
                # A rename cannot replace a folder with files; a kill between the two leaves none, not half.
                shutil.rmtree(folder)
            staging.rename(folder)
            _flush(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A block that writes `folder`: what a full disk raises in it becomes an error that names it."""
    try:
        yield
    except OSError as error:
        raise AddressVLMError(f"cannot write {folder}: {error.strerror or error}") from error
    except (SafetensorError, RuntimeError) as error:  # these libraries have their own words for it
        torchs = ("PytorchStreamWriter", "inline_container")
        if isinstance(error, RuntimeError) and not any(word in str(error) for word in torchs):
            raise
        raise AddressVLMError(f"cannot write {folder}: {error}; is the disk full?") from error


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below the folder, by relative path; the manifest itself is left out."""
    return {path.relative_to(folder).as_posix(): sha256(path) for path in _files(folder)}


def verify(folder: Path) -> None:
    """Pass if the folder holds exactly what its manifest says; otherwise an error names what differs."""
    if not folder.is_dir():
        raise AddressVLMError(f"there is no folder {folder}")
    try:
        stated: dict[str, str] = read_json(folder / MANIFEST)["files"]
    except (KeyError, TypeError):
        raise AddressVLMError(f"{folder / MANIFEST} is no manifest; the folder cannot be trusted") from None
    found = digests(folder)
    torn = sorted(name for name in stated.keys() | found.keys() if stated.get(name) != found.get(name))
    if torn:
        raise AddressVLMError(
            f"{folder} is damaged: {', '.join(torn)} is not what {MANIFEST} says; make it again"
        )


def checkpoints(folder: Path) -> list[Path]:
    """The folders `checkpoint-STEP` in order of their step, verified or not."""
    found = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdecimal()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(PREFIX)))


def newest_checkpoint(folder: Path, needs: Sequence[str] = ()) -> Path | None:
    """The newest checkpoint that verifies and holds the files `needs`; a damaged one is skipped, and said."""
    for path in reversed(checkpoints(folder)):
        try:
            verify(path)
            missing = [name for name in needs if not (path / name).is_file()]
            if missing:
                raise AddressVLMError(f"{path} lacks {', '.join(missing)}")
        except AddressVLMError as error:
            say(f"warning: skipped a checkpoint: {error}")
        else:
            return path
    return None


def require_safe_folder(folder: Path, *files: str) -> bool:
    """Refuse a folder without these files, with weights that are pickles, or that wants its own code run.

    Such code is allowed by naming the digest of its .py files in ADDRESSVLM_REMOTE_CODE, which pins it:
    changed code is refused again. Returns whether there is allowed code to run.
    """
    if not folder.is_dir():
        raise AddressVLMError(f"there is no folder {folder}")
    own_code = _allowed_code(folder)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles and not any(folder.glob("*.safetensors")):
        raise AddressVLMError(
            f"{folder} holds pickled weights ({pickles[0]}), which could run code; "
            "convert them to safetensors"
        )
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise AddressVLMError(f"{folder} is no model: it has no {missing[0]}")
    return own_code


def _allowed_code(folder: Path) -> bool:
    """Whether the folder asks to run code that the user has allowed; other code is an error."""
    for path in sorted(folder.glob("*.json")):
        stored = read_json(path)
        if not (isinstance(stored, dict) and "auto_map" in stored):
            continue
        asks = f"{folder} asks to run its own code (auto_map in {path.name})"
        if "--" in str(stored["auto_map"]):
            raise AddressVLMError(f"{asks}, from another place than this folder; that is never done")
        pin = code_digest(folder)
        if os.environ.get(REMOTE_CODE) != pin:
            raise AddressVLMError(
                f"{asks}; read its .py files, and if you trust them, allow exactly these by "
                f"`addressvlm --remote-code {pin} …`"
            )
        return True
    return False


def code_digest(folder: Path) -> str:
    """SHA-256 of the names and contents of all .py files of a folder: the pin of its code."""
    listing = "".join(f"{path.relative_to(folder)} {sha256(path)}\n" for path in sorted(folder.rglob("*.py")))
    return hashlib.sha256(listing.encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
