"""A trained model for the programs of others: the adapter alone for peft, or all weights merged.

Merged weights carry the names that the hub has had since Transformers 4 (`vision_tower.vision_model.…`,
`language_model.model.…`), which vLLM, llama.cpp's converters and every version of Transformers read;
Transformers 5 itself writes others.
"""

import re
import shutil
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from huggingface_hub import save_torch_state_dict
from transformers import (
    CLIPImageProcessorPil,
    GenerationConfig,
    LlavaImageProcessorPil,
    LlavaProcessor,
)

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import read_json, require_complete, write_json
from addressvlm.model.backbone import ADAPTER, Backbone, load_run, quiet
from addressvlm.model.checkpoints import digests, publish
from addressvlm.model.hub import HUB
from addressvlm.model.lora import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from addressvlm.model.modelcard import model_card
from addressvlm.model.template import PHI3_TEMPLATE, USER

Format = Literal["adapter", "merged"]
FORMATS: tuple[Format, ...] = get_args(Format)
Precision = Literal["bfloat16", "float16", "float32"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_LLAVA = ("llava", "llava_onevision")
# From the names in memory to those of the hub.
_RENAMED = (
    (re.compile(r"^model\.language_model\."), "language_model.model."),
    (re.compile(r"^lm_head\."), "language_model.lm_head."),
    (re.compile(r"^model\.vision_tower\.(?!vision_model\.)"), "vision_tower.vision_model."),
    (re.compile(r"^model\.(vision_tower\.|multi_modal_projector\.|image_newline)"), r"\1"),
)


def export_run(run: Path, out: Path, form: str, *, dtype: str = "bfloat16") -> dict[str, Any]:
    """Write a complete run into the folder `out` in a format of `FORMATS`; returns a summary.

    `dtype` is the precision of merged weights. Raises UsageError for an unknown format or precision, and for
    the adapter of a run that has none.
    """
    if form not in FORMATS:
        raise UsageError(f"there is no format {form!r} of a run; there are {', '.join(FORMATS)}")
    if dtype not in PRECISIONS:
        raise UsageError(f"there is no precision {dtype!r}; there are {', '.join(PRECISIONS)}")
    if out.exists():
        raise UsageError(f"{out} is there already; choose a new folder")
    summary = require_complete(run)
    with publish(out) as staging:
        if form == "adapter":
            _write_adapter(run, staging, summary)
        else:
            _write_merged(load_run(run), staging, getattr(torch, dtype))
        card = model_card(read_json(run / "config.json"), summary, form, base_model(summary))
        (staging / "README.md").write_text(card, "utf-8")
    size = sum(path.stat().st_size for path in out.iterdir())
    return {"format": form, "out": str(out), "bytes": size, "files": sorted(digests(out))}


def base_model(summary: dict[str, Any]) -> str:
    """What the base of a run is called: its hub id if it has one."""
    name = str(summary["base"])
    return HUB.get(name, name)


def hub_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of a LLaVA-style model by the names that they have on the hub."""
    renamed = {}
    for name, weight in state.items():
        for pattern, replacement in _RENAMED:
            name, found = pattern.subn(replacement, name)
            if found:
                break
        renamed[name] = weight
    assert len(renamed) == len(state), "no two weights get one name"
    return renamed


def _write_adapter(run: Path, folder: Path, summary: dict[str, Any]) -> None:
    if not (run / ADAPTER).is_dir():
        raise UsageError(f"{run} has no adapter, all its weights were tuned; export it as merged")
    shutil.copyfile(run / ADAPTER / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
    config = read_json(run / ADAPTER / ADAPTER_CONFIG)
    write_json(folder / ADAPTER_CONFIG, config | {"base_model_name_or_path": base_model(summary)})


def _write_merged(backbone: Backbone, folder: Path, dtype: torch.dtype) -> None:
    model = backbone.model.to(dtype)
    config = model.config
    config.architectures = [type(model).__name__]
    text = config.get_text_config()
    # vLLM finds the language model by it; a configuration built in memory lacks it.
    text.architectures = text.architectures or [_language_architecture(text)]
    config.dtype = text.dtype = dtype
    if config.model_type in _LLAVA:
        config.save_pretrained(folder)
        state = {name: weight.contiguous().cpu() for name, weight in model.state_dict().items()}
        if config.tie_word_embeddings:
            state.pop("lm_head.weight", None)
        save_torch_state_dict(hub_names(state), folder, max_shard_size="5GB")
    else:
        with quiet():
            model.save_pretrained(folder)
    GenerationConfig(
        bos_token_id=backbone.tokenizer.bos_token_id,
        eos_token_id=list(backbone.end_ids),
        pad_token_id=backbone.tokenizer.pad_token_id,
    ).save_pretrained(folder)
    if USER in backbone.tokenizer.get_added_vocab():
        backbone.tokenizer.chat_template = PHI3_TEMPLATE
    backbone.tokenizer.save_pretrained(folder)
    backbone.preprocessing.save(folder)
    if config.model_type == "llava":
        processor = _processor(backbone)
        processor.save_pretrained(folder)
        pictures = read_json(folder / "processor_config.json")["image_processor"]
        write_json(folder / "preprocessor_config.json", pictures)
    _speak_to_transformers_4(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # written for the owner alone


def _speak_to_transformers_4(folder: Path) -> None:
    """Say what version 5 calls otherwise under the names of version 4, which both understand."""
    config = read_json(folder / "config.json")
    text = config["text_config"]
    rope = text.get("rope_parameters") or {}
    if "rope_theta" in rope:
        text["rope_theta"] = rope["rope_theta"]
    write_json(folder / "config.json", config)
    path = folder / "tokenizer_config.json"
    tokenizer = read_json(path)
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":
        tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    named = tokenizer.pop("model_specific_special_tokens", {})
    if named or not tokenizer.get("extra_special_tokens"):
        tokenizer["extra_special_tokens"] = named
    tokenizer["model_input_names"] = ["input_ids", "attention_mask"]
    write_json(path, tokenizer)


def _language_architecture(text: Any) -> str:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    found: str | None = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(text.model_type)
    if found is None:
        raise AddressVLMError(f"Transformers knows no language model of the type {text.model_type!r}")
    return found


def _processor(backbone: Backbone) -> LlavaProcessor:
    """Hugging Face's processor that makes the same pixels and tokens as we do."""
    settings = backbone.preprocessing
    square = {"height": settings.size_px, "width": settings.size_px}
    colours = {"image_mean": list(settings.mean), "image_std": list(settings.std)}
    if settings.fit == "crop":
        images = CLIPImageProcessorPil(
            size={"shortest_edge": settings.size_px}, crop_size=square, do_center_crop=True, **colours
        )
    else:
        images = LlavaImageProcessorPil(
            size=square, crop_size=square, do_center_crop=False, do_pad=settings.fit == "pad", **colours
        )
    config = backbone.model.config
    return LlavaProcessor(
        image_processor=images,
        tokenizer=backbone.tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        # The class token, which CLIP has and the strategy "default" takes away again.
        num_additional_image_tokens=int(config.vision_config.model_type == "clip_vision_model"),
        chat_template=backbone.tokenizer.chat_template,
    )
