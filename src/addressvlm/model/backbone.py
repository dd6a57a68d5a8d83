"""A model with everything it takes to use it: weights, tokenizer, preprocessing."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from transformers import (
    AutoModelForImageTextToText,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from addressvlm.errors import AddressVLMError
from addressvlm.folders import SUMMARY, read_json
from addressvlm.model.checkpoints import publish, require_safe_folder
from addressvlm.model.hub import HUB
from addressvlm.model.initialising import initialise
from addressvlm.model.lora import load_adapter
from addressvlm.model.memory import require_room
from addressvlm.model.pictures import picture_px, picture_tokens, require_picture_size
from addressvlm.model.preprocessing import Preprocessing
from addressvlm.model.presets import preset
from addressvlm.model.quantizing import Quantization, quantization_config
from addressvlm.model.template import END, control_ids, template_of
from addressvlm.model.tokenizer import mini_tokenizer

RUN_FORMAT = 1
"""Changes when older versions could no longer read what a run folder holds."""
RANDOM = "random:"  # in front of the name of a model that began with random weights
ADAPTER, MODEL, BASE = "adapter", "model", "base"


@dataclass
class Backbone:
    """A LLaVA-style model on some device, in float32, with its tokenizer and preprocessing."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    preprocessing: Preprocessing
    name: str

    @cached_property
    def image_tokens(self) -> int:
        """Tokens that stand for one picture."""
        return picture_tokens(self.model.config)

    @property
    def end_id(self) -> int:
        """The token that ends an answer."""
        return template_of(self.tokenizer).end

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
    if name in HUB:
        with torch.device("meta"):
            weights = AutoModelForImageTextToText.from_config(config).num_parameters()
        require_room(4 * weights, f"{name} with random weights")
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


def save_backbone(backbone: Backbone, folder: Path) -> None:
    """Write a Hugging Face folder (safetensors) with tokenizer and preprocessing, whole or not at all."""
    with publish(folder) as staging:
        with quiet():
            backbone.model.save_pretrained(staging)
        backbone.tokenizer.save_pretrained(staging)
        backbone.preprocessing.save(staging)


def load_backbone(
    folder: Path, *, dtype: torch.dtype = torch.float32, quantization: Quantization = "none"
) -> Backbone:
    """Read a folder of `save_backbone`, or of somebody else's model in Hugging Face's format.

    Every weight must be there and none be left over; tokenizer, pictures and configuration must fit together.
    """
    own_code = require_safe_folder(folder, "config.json", "tokenizer.json")
    try:
        with quiet():
            model, report = AutoModelForImageTextToText.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=dtype,
                output_loading_info=True,
                trust_remote_code=own_code,
                quantization_config=quantization_config(quantization),
            )
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=own_code
            )
    except Exception as error:  # of many libraries, and all of them about what is in the folder
        raise AddressVLMError(f"{folder} cannot be loaded as a model: {error}") from error
    for key in ("is_local", "local_files_only", "trust_remote_code"):  # of this loading; not to be saved
        tokenizer.init_kwargs.pop(key, None)
    wrong = sorted(str(key) for keys in report.values() for key in keys)
    if wrong:
        raise AddressVLMError(
            f"the weights of {folder} do not fit its config.json: {wrong[0]} ({len(wrong)} in all)"
        )
    preprocessing = Preprocessing.of_model(folder, picture_px(model.config))
    require_picture_size(model.config, preprocessing.size_px, str(folder))
    backbone = Backbone(
        model.eval(), tokenizer, preprocessing, getattr(model.config, "addressvlm_backbone", folder.name)
    )
    _require_same_picture_token(backbone, folder)
    return backbone


def _require_same_picture_token(backbone: Backbone, folder: Path) -> None:
    """Model and tokenizer must mean the same token by a picture, and the model must have room for it."""
    token = template_of(backbone.tokenizer).picture_token
    config = backbone.model.config
    expected = config.image_token_id
    if token != expected:
        raise AddressVLMError(
            f"in {folder} the tokenizer's picture token has id {token}, the model's {expected}; correct "
            "image_token_index in config.json"
        )
    rows = backbone.model.get_input_embeddings().weight.shape[0]
    if token >= rows:
        raise AddressVLMError(
            f"in {folder} the picture token has id {token}, but the model has {rows} tokens"
        )


def load_run(run: Path) -> Backbone:
    """The trained model of a run folder, ready to answer: adapter merged into base, or the full model."""
    require_readable_run(run)
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


def require_readable_run(run: Path) -> None:
    """Refuse a run that a version with another format of runs has made."""
    if not (run / SUMMARY).is_file():
        return
    summary = read_json(run / SUMMARY)
    found = summary.get("format", RUN_FORMAT)
    if found != RUN_FORMAT:
        maker = summary.get("versions", {}).get("addressvlm", "of another version")
        raise AddressVLMError(
            f"{run} has format {found} (addressvlm {maker} made it), this version reads format {RUN_FORMAT}; "
            "use that version, or train the run again"
        )


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
