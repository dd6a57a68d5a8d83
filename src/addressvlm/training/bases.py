"""Where a run starts from: a preset, a model folder, a hub id, or an earlier run.

A preset has the weights that come with this package, if any do; `random:PRESET` has random ones.

A run with adapters keeps its base beside them (hard links where the disk allows), so that a run folder can be
moved and used alone. A later run with the same kind of adapter goes on training the earlier one's.
"""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import AutoConfig, PreTrainedModel

from addressvlm.errors import UsageError
from addressvlm.folders import CONFIG, SUMMARY, fingerprint, read_json
from addressvlm.model.backbone import (
    ADAPTER,
    BASE,
    MODEL,
    RANDOM,
    Backbone,
    build_backbone,
    load_backbone,
    load_run,
    require_readable_run,
    save_backbone,
)
from addressvlm.model.checkpoints import digests, publish, require_safe_folder, verify
from addressvlm.model.hub import HUB, downloaded, is_hub_id
from addressvlm.model.lora import (
    PARTS,
    adapter_config,
    adapter_parts,
    add_adapter,
    restore_adapter,
    train_adapter_parts,
    train_parts,
)
from addressvlm.model.pictures import picture_px
from addressvlm.model.preprocessing import PREPROCESSING, Fit, Preprocessing
from addressvlm.model.presets import PRESETS, preset, shipped
from addressvlm.model.quantizing import require_quantizer
from addressvlm.training.precision import frozen_dtype
from addressvlm.training.stages import Stage, for_mini, from_scratch
from addressvlm.work import say


def identify(base: str, seed: int) -> dict[str, Any]:
    """What decides the weights of a base, for the config of a run: names, seeds and digests, no paths."""
    folder = folder_of(base)
    if folder is None:
        return {"preset": _random(base), "seed": seed}
    if _is_run(folder):
        return {"run": fingerprint(folder)}
    listing = "".join(f"{name} {digest}\n" for name, digest in digests(folder).items())
    return {"model": hashlib.sha256(listing.encode()).hexdigest()}


def suited(stage: Stage, base: str) -> Stage:
    """The stage with the settings that its base needs: the paper's are for a large one that can read.

    Random weights, and runs that tuned all of such, have no use for adapters; the mini bases are small.
    """
    name = _name(base)
    if name.startswith(RANDOM):
        return from_scratch(stage)
    return for_mini(stage) if name in PRESETS and name not in HUB else stage


def _name(base: str) -> str:
    """What the weights of a base began as, however many runs ago; "" if nobody says."""
    folder = folder_of(base)
    if folder is None:
        return f"{RANDOM}{_random(base)}"
    if base in PRESETS:
        return base
    if not _is_run(folder):
        config = folder / CONFIG
        name = read_json(config).get("addressvlm_backbone") if config.is_file() else ""
        return str(name) if name in PRESETS else ""
    if not (folder / SUMMARY).is_file():
        return ""
    name = str(read_json(folder / SUMMARY)["base"])
    return name.removeprefix(RANDOM) if name.startswith(RANDOM) and not (folder / MODEL).is_dir() else name


def start(base: str, stage: Stage, run: Path) -> tuple[Backbone, PreTrainedModel | PeftModel]:
    """The model to train, with what the stage trains unfrozen; the base under adapters is kept in `run`."""
    require_quantizer(stage.quantization)
    if not uses_adapter(base, stage):
        backbone = load_base(base, stage.seed)
        train_parts(backbone.model, stage.trains)
        return _fitted(backbone, stage), backbone.model
    if (folder := folder_of(base)) and _is_run(folder):
        require_readable_run(folder)
    earlier = _adapter_to_continue(base, stage)
    _keep_base(base, stage, run, continued=earlier is not None)
    backbone = load_backbone(run / BASE, dtype=frozen_dtype(stage), quantization=stage.quantization)
    parts = set(stage.trains) | set(adapter_parts(earlier) if earlier else ())
    adapted = add_adapter(
        backbone.model,
        [part for part in PARTS if part in parts],
        rank=stage.lora_rank,
        alpha=stage.lora_alpha,
        dropout=stage.lora_dropout,
        seed=stage.seed,
    )
    if earlier:
        restore_adapter(adapted, earlier)
        backbone.preprocessing = Preprocessing.load(earlier)  # that stage may have chosen another fit
    _trained_in_float32(adapted)
    train_adapter_parts(adapted, stage.trains)
    return _fitted(backbone, stage), adapted


def _trained_in_float32(adapted: PeftModel) -> None:
    """What is trained, adapters and projector, keeps its small steps though the base is coarse."""
    for weight in adapted.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def uses_adapter(base: str, stage: Stage) -> bool:
    """Whether the run ends with adapters; the projector alone is trained whole, there is nothing to adapt."""
    if stage.tuning == "full":
        return False
    return set(stage.trains) != {"projector"} or _adapter_to_continue(base, stage) is not None


def _adapter_to_continue(base: str, stage: Stage) -> Path | None:
    folder = folder_of(base)
    if folder is None or not (folder / ADAPTER).is_dir():
        return None
    config = adapter_config(folder / ADAPTER)
    same = (config.r, config.lora_alpha) == (stage.lora_rank, stage.lora_alpha)
    return folder / ADAPTER if same and stage.earlier_adapter == "continue" else None


def load_base(base: str, seed: int) -> Backbone:
    """The weights that a run from this base begins with; `seed` draws those of a random one."""
    folder = folder_of(base)
    if folder is None:
        return build_backbone(_random(base), seed=seed)
    return load_run(folder) if _is_run(folder) else load_backbone(folder)


def preprocessing_of(base: str, fit: Fit | None = None) -> Preprocessing:
    """How a training from this base makes its pictures; no weights are loaded for it."""
    folder = folder_of(base)
    if folder is None:
        found = preset(_random(base)).preprocessing
    else:
        places = (folder / ADAPTER, folder / MODEL, folder)
        ours = next((place for place in places if (place / PREPROCESSING).is_file()), None)
        found = Preprocessing.load(ours) if ours else _of_others(folder)
    return found if fit is None else replace(found, fit=fit)


def _of_others(folder: Path) -> Preprocessing:
    own_code = require_safe_folder(folder, "config.json")
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=own_code)
    return Preprocessing.of_model(folder, picture_px(config))


def _keep_base(base: str, stage: Stage, run: Path, *, continued: bool) -> None:
    kept, folder = run / BASE, folder_of(base)
    if kept.is_dir():
        verify(kept)
    elif folder is None:
        say(f"warning: {base!r} has random weights, and adapters change little of them; try tuning = full")
        save_backbone(build_backbone(_random(base), seed=stage.seed), kept)
    elif not _is_run(folder):
        _link(folder, kept)
    elif continued or (folder / MODEL).is_dir():
        _link(folder / (BASE if continued else MODEL), kept)
    else:
        save_backbone(load_run(folder), kept)


def _link(source: Path, target: Path) -> None:
    with publish(target) as staging:
        for name in digests(source):
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source / name, staging / name)
            except OSError:  # another disk, or one without links
                shutil.copyfile(source / name, staging / name)


def _fitted(backbone: Backbone, stage: Stage) -> Backbone:
    if stage.image_fit is None:
        return backbone
    return replace(backbone, preprocessing=replace(backbone.preprocessing, fit=stage.image_fit))


def folder_of(base: str) -> Path | None:
    """The folder that is meant, or None for random weights; a preset wins over a folder of its name."""
    if base in HUB:
        return downloaded(base)
    if base in PRESETS:
        return shipped(base)
    if base.startswith(RANDOM):
        return None
    if Path(base).is_dir():
        return Path(base)
    if is_hub_id(base):
        return downloaded(base)
    if "/" in base or os.sep in base:
        raise UsageError(f"there is no folder {base}; a base is a preset, a model folder or an earlier run")
    return None


def _random(base: str) -> str:
    """The preset whose random weights are meant; an unknown name is an error here."""
    name = base.removeprefix(RANDOM)
    preset(name)
    return name


def _is_run(folder: Path) -> bool:
    config = folder / CONFIG  # of a step of ours, or of a model
    step = read_json(config).get("step") if config.is_file() else None
    if step not in (None, "run"):
        raise UsageError(f"{folder} is no run or model but the folder of a {step}; give a folder within it")
    return step == "run"
