"""A describer in this process: a run of this project, or any Hugging Face folder that reads pictures and
text.

Asks are described in batches of similar length. A batch has one temperature; what it draws depends on the
seeds of its asks and on who is in it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from addressvlm.dataset.labelcalls import Ask, Describer, NoAnswer, Reply
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.imagery.opening import open_image
from addressvlm.inference.generating import generate_tokens, generation_config
from addressvlm.inference.prompts import sight
from addressvlm.model.backbone import ADAPTER, MODEL, Backbone, load_backbone, load_run, quiet
from addressvlm.model.checkpoints import require_safe_folder
from addressvlm.model.preprocessing import PREPROCESSING

# Batches that are sorted by length together; a killed job loses at most so many.
WINDOW_BATCHES = 4

Batch = Sequence[tuple[Ask, tuple[Image.Image, ...]]]
_Generate = Callable[[Batch], list[Reply]]


@dataclass(frozen=True)
class LocalModel:
    """A model folder or a run, and how many samples it describes at a time."""

    folder: Path
    batch_size: int = 8

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size}, but it must be at least 1")
        if not self.folder.is_dir():
            raise AddressVLMError(f"there is no folder {self.folder}; give a model folder or a run")

    @property
    def window(self) -> int:
        """How many asks a describer likes to have at once."""
        return WINDOW_BATCHES * self.batch_size

    def mark(self) -> str:
        """What tells this model from others: names and sizes of its files, no path."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        listing = "".join(f"{path.relative_to(self.folder)} {path.stat().st_size}\n" for path in files)
        return hashlib.sha256(listing.encode()).hexdigest()

    def open(self) -> Describer:
        """A describer with the model loaded, on a GPU in bfloat16 if there is one."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        ours = (self.folder / PREPROCESSING).is_file()
        if ours or any((self.folder / part).is_dir() for part in (ADAPTER, MODEL)):
            backbone = load_backbone(self.folder) if ours else load_run(self.folder)
            backbone.model.to(device, dtype)
            generate: _Generate = _Ours(backbone)
        else:
            generate = _AnyModel(self.folder, device, dtype)
        return lambda asks: _described(asks, generate, self.batch_size)


def _described(asks: Sequence[Ask], generate: _Generate, batch_size: int) -> list[Reply | NoAnswer]:
    """Replies in the order of the asks, made in batches of one temperature and similar length."""
    replies: dict[int, Reply | NoAnswer] = {}
    seen: dict[int, tuple[Ask, tuple[Image.Image, ...]]] = {}
    for place, ask in enumerate(asks):
        try:
            seen[place] = (ask, tuple(open_image(image) for image in ask.images))
        except AddressVLMError as error:
            replies[place] = NoAnswer("picture", str(error))
    order = sorted(seen, key=lambda place: (asks[place].temperature, len(asks[place].hint)))
    for _, alike in groupby(order, key=lambda place: asks[place].temperature):
        places = list(alike)
        for begin in range(0, len(places), batch_size):
            batch = places[begin : begin + batch_size]
            told = _told([seen[place] for place in batch], generate)
            replies.update(zip(batch, told, strict=True))
    return [replies[place] for place in range(len(asks))]


def _told(batch: Batch, generate: _Generate) -> list[Reply | NoAnswer]:
    seed = hashlib.sha256(repr([ask.seed for ask, _ in batch]).encode()).digest()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(int.from_bytes(seed[:8], "big"))
            return list(generate(batch))
    except torch.OutOfMemoryError:
        raise UsageError(
            f"{len(batch)} samples at a time do not fit into memory; lower --batch-size"
        ) from None
    except Exception as error:  # of any model's own code, about one sample; the others shall not suffer
        if len(batch) == 1:
            return [NoAnswer("bad_request", f"the model cannot read this: {type(error).__name__}: {error}")]
        return [reply for sample in batch for reply in _told([sample], generate)]


class _Ours:
    """A model of this project: its own template and preprocessing."""

    def __init__(self, backbone: Backbone):
        self._backbone = backbone

    def __call__(self, batch: Batch) -> list[Reply]:
        first = batch[0][0]
        seen = [
            sight(images, [f"{ask.instructions}\n{ask.hint}"], self._backbone, first.max_tokens)
            for ask, images in batch
        ]
        generation = generation_config(self._backbone, max_new_tokens=first.max_tokens, **_drawing(first))
        prompts = [(sight.prompts[0], sight.pixels) for sight in seen]
        answers = generate_tokens(self._backbone, prompts, generation)
        tokenizer, ends = self._backbone.tokenizer, set(self._backbone.end_ids)
        return _replies(answers, ends, [len(ids) for ids, _ in prompts], tokenizer)


class _AnyModel:
    """Any model that Transformers knows, by its own processor and chat template."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype):
        from transformers import AutoModelForImageTextToText, AutoProcessor

        require_safe_folder(folder, "config.json")
        try:
            with quiet():
                self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
                model = AutoModelForImageTextToText.from_pretrained(
                    folder, local_files_only=True, use_safetensors=True, dtype=dtype
                )
        except Exception as error:  # of many libraries, and all of them about what is in the folder
            raise AddressVLMError(f"{folder} cannot be loaded as a model: {error}") from error
        self._model = model.to(device).eval()
        self._tokenizer = self._processor.tokenizer
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        if not (self._processor.chat_template or self._tokenizer.chat_template):
            raise AddressVLMError(f"{folder} has no chat template; take a model that was tuned to be asked")

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[Reply]:
        first = batch[0][0]
        texts = [
            self._processor.apply_chat_template(
                [{"role": "user", "content": _content(ask)}], add_generation_prompt=True, tokenize=False
            )
            for ask, _ in batch
        ]
        pictures = [list(images) for _, images in batch]
        inputs = self._processor(text=texts, images=pictures, padding=True, return_tensors="pt")
        inputs = inputs.to(self._model.device, self._model.dtype)
        generated = self._model.generate(
            **inputs,
            max_new_tokens=first.max_tokens,
            pad_token_id=self._tokenizer.pad_token_id,
            **_drawing(first),
        )
        answers = generated[:, inputs["input_ids"].shape[1] :]
        ends = self._model.generation_config.eos_token_id
        read = inputs["attention_mask"].sum(dim=1).tolist()
        return _replies(answers, {ends} if isinstance(ends, int) else set(ends or ()), read, self._tokenizer)


def _content(ask: Ask) -> list[dict[str, str]]:
    return [
        {"type": "text", "text": ask.instructions},
        *({"type": "image"} for _ in ask.images),
        {"type": "text", "text": f"\n{ask.hint}"},
    ]


def _drawing(ask: Ask) -> dict[str, Any]:
    if ask.temperature == 0:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": ask.temperature, "top_p": 1.0, "top_k": 0}


def _replies(answers: torch.Tensor, ends: set[int], read: Sequence[int], tokenizer: Any) -> list[Reply]:
    """The replies in generated tokens, (answers, tokens); an answer without an end was cut off."""
    replies = []
    for ids, tokens in zip(answers.tolist(), read, strict=True):
        length = next((place for place, token in enumerate(ids) if token in ends), len(ids))
        text = tokenizer.decode(ids[:length], skip_special_tokens=True)
        written = min(length + 1, len(ids))
        replies.append(
            Reply(text.strip(), cut=length == len(ids), prompt_tokens=tokens, completion_tokens=written)
        )
    return replies
