"""A model with everything it takes to use it: weights, tokenizer, preprocessing."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import (
    AutoModelForImageTextToText,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from addressvlm.errors import AddressVLMError
from addressvlm.model.checkpoints import publish, require_safe_folder
from addressvlm.model.conversation import control_ids
from addressvlm.model.lora import load_adapter
from addressvlm.model.preprocessing import PREPROCESSING, Preprocessing
from addressvlm.model.presets import preset
from addressvlm.model.tokenizer import END, mini_tokenizer

RANDOM = "random:"  # in front of the name of a model that began with random weights
ADAPTER, MODEL, BASE = "adapter", "model", "base"


@dataclass
class Backbone:
    """A LLaVA-style model on some device, in float32, with its tokenizer and preprocessing."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    preprocessing: Preprocessing
    name: str

    @property
    def image_tokens(self) -> int:
        """Tokens that stand for one picture."""
        tokens: int = self.model.config.image_seq_length
        return tokens

    @property
    def end_id(self) -> int:
        """The token that ends an answer."""
        return control_ids(self.tokenizer, (END,))[0]

    @property
    def end_ids(self) -> tuple[int, ...]:
        """All tokens behind which an answer does not go on: its own end, and the end of text."""
        of_text = self.tokenizer.eos_token_id
        return (self.end_id,) if of_text in (None, self.end_id) else (self.end_id, of_text)


def build_backbone(name: str, *, seed: int) -> Backbone:
    """The preset of this name (or `random:NAME`) with random weights, the same ones for the same seed."""
    name = name.removeprefix(RANDOM)
    chosen, tokenizer = preset(name), mini_tokenizer()
    config = chosen.config(tokenizer)
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForImageTextToText.from_config(config)
    initialise(model, seed=seed)
    model.config.addressvlm_backbone = f"{RANDOM}{name}"
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[control_ids(tokenizer, (END,))[0], tokenizer.eos_token_id],
        pad_token_id=tokenizer.pad_token_id,
    )
    return Backbone(model.eval(), tokenizer, chosen.preprocessing, f"{RANDOM}{name}")


def initialise(model: nn.Module, *, seed: int) -> None:
    """Draw weights that let a small model learn quickly, in the order of their names.

    Linear layers and convolutions by their fan-in; Hugging Face's 0.02 is far smaller at these widths.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(model.named_parameters()):
        if weight.ndim > 1:
            nn.init.normal_(weight, std=_std(name, weight), generator=generator)
        elif name.endswith("class_embedding"):
            nn.init.normal_(weight, std=0.2, generator=generator)
        else:
            nn.init.constant_(weight, 0.0 if name.endswith("bias") else 1.0)


def _std(name: str, weight: torch.Tensor) -> float:
    if "position_embedding" in name:
        return 0.2  # 0.02 drowns beside the patches: a tower that sees no places learns slowly
    if "embed_tokens" in name:
        return 0.08
    return 1 / math.sqrt(weight[0].numel())


def save_backbone(backbone: Backbone, folder: Path) -> None:
    """Write a Hugging Face folder (safetensors) with tokenizer and preprocessing, whole or not at all."""
    with publish(folder) as staging:
        with quiet():
            backbone.model.save_pretrained(staging)
        backbone.tokenizer.save_pretrained(staging)
        backbone.preprocessing.save(staging)


def load_backbone(folder: Path) -> Backbone:
    """Read a folder of `save_backbone`. Every weight must be there and none be left over."""
    require_safe_folder(folder, "config.json", "tokenizer.json", PREPROCESSING)
    try:
        with quiet():
            model, report = AutoModelForImageTextToText.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # of many libraries, and all of them about what is in the folder
        raise AddressVLMError(f"{folder} cannot be loaded as a model: {error}") from error
    for key in ("is_local", "local_files_only"):  # of this loading; they would be saved again
        tokenizer.init_kwargs.pop(key, None)
    wrong = sorted(str(key) for keys in report.values() for key in keys)
    if wrong:
        raise AddressVLMError(
            f"the weights of {folder} do not fit its config.json: {wrong[0]} ({len(wrong)} in all)"
        )
    preprocessing = Preprocessing.load(folder)
    expected = model.config.vision_config.image_size
    if preprocessing.size_px != expected:
        raise AddressVLMError(
            f"{folder / PREPROCESSING} makes pictures of {preprocessing.size_px} px, "
            f"the model reads {expected} px"
        )
    return Backbone(
        model.eval(), tokenizer, preprocessing, getattr(model.config, "addressvlm_backbone", folder.name)
    )


def load_run(run: Path) -> Backbone:
    """The trained model of a run folder, ready to answer: adapter merged into base, or the full model."""
    if (run / MODEL).is_dir():
        return load_backbone(run / MODEL)
    if not (run / ADAPTER).is_dir():
        raise AddressVLMError(
            f"{run} is no finished run: it has neither {ADAPTER}/ nor {MODEL}/; train it first"
        )
    backbone = load_backbone(run / BASE)
    backbone.model = load_adapter(backbone.model, run / ADAPTER).merge_and_unload().eval()
    backbone.preprocessing = Preprocessing.load(run / ADAPTER)  # a stage may have chosen another fit
    return backbone


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the bars and reports that Transformers prints; what is wrong with a folder is raised by us."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
