"""Questions about photos in, answers out: batched greedy decoding, and sampling."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import GenerationConfig

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.imagery.opening import open_image
from addressvlm.model.backbone import Backbone, load_run
from addressvlm.model.conversation import Turn, encode_conversation
from addressvlm.work import keep_freed_memory

if TYPE_CHECKING:
    import geopandas as gpd

GAZETTEER = "gazetteer.parquet"

# Batches that are sorted by length together: enough to waste little on padding, few enough to keep in memory.
_WINDOW_BATCHES = 8

Picture = Path | Image.Image
Pixels = npt.NDArray[np.uint8]


class Asked(Protocol):
    """Anything with pictures and a question; `Request` is one."""

    @property
    def images(self) -> Sequence[Picture]:
        """The pictures, files or opened, that the question is about."""

    @property
    def question(self) -> str:
        """The words of the question."""


@dataclass(frozen=True)
class Request:
    """One question about one or more pictures (files, or opened RGB images)."""

    images: tuple[Picture, ...]
    question: str


@dataclass(frozen=True)
class _Prompt:
    """A request as the model reads it: token ids, and the pixels of its pictures, (3, size, size) each."""

    ids: list[int]
    pixels: tuple[Pixels, ...]


class Localizer:
    """A trained model that answers questions about photos, and the names and shapes it was trained with."""

    def __init__(self, backbone: Backbone, run: Path | None = None):
        self.backbone = backbone
        self.run = run

    @classmethod
    def load(cls, run: Path, *, device: str | None = None, dtype: torch.dtype | None = None) -> "Localizer":
        """The model of a run folder on `device` (a GPU if there is one).

        `dtype` is bfloat16 on a GPU and float32 elsewhere, where answers then do not depend on what else is
        asked in the same batch.
        """
        keep_freed_memory()
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        backbone = load_run(run)
        # Bases bring settings of their own (Qwen2: a repetition penalty); here only the weights decide.
        backbone.model.generation_config = GenerationConfig()
        backbone.model.to(place, dtype or (torch.bfloat16 if place.type == "cuda" else torch.float32))
        return cls(backbone, run)

    @cached_property
    def gazetteer(self) -> "gpd.GeoDataFrame":
        """The districts and streets that the run was trained with."""
        import geopandas as gpd

        if self.run is None or not (self.run / GAZETTEER).is_file():
            raise AddressVLMError(
                f"{self.run or 'this model'} has no {GAZETTEER}; train it from a data set again"
            )
        return gpd.read_parquet(self.run / GAZETTEER)

    def ask(self, image: Picture, question: str, *, max_new_tokens: int = 24) -> str:
        """The most probable answer, word by word, to one question about one picture."""
        return next(self.answer([Request((image,), question)], max_new_tokens=max_new_tokens))

    def answer(
        self, requests: Sequence[Asked], *, batch_size: int = 64, max_new_tokens: int = 24
    ) -> Iterator[str]:
        """The greedy answers to all requests, in their order.

        Requests are answered in batches of similar length; a picture that consecutive requests share is
        opened once. Raises `UsageError` for an empty or too long question, `AddressVLMError` for a picture
        that cannot be opened.
        """
        if batch_size < 1 or max_new_tokens < 1:
            raise UsageError(
                f"batch_size {batch_size} and max_new_tokens {max_new_tokens} must be at least 1"
            )
        generation = self._generation(max_new_tokens=max_new_tokens, do_sample=False)
        prompts = self._prompts(requests, max_new_tokens)
        while window := list(islice(prompts, batch_size * _WINDOW_BATCHES)):
            answers = [""] * len(window)
            order = sorted(range(len(window)), key=lambda place: len(window[place].ids))
            for begin in range(0, len(order), batch_size):
                places = order[begin : begin + batch_size]
                texts = self._generate([window[place] for place in places], generation)
                for place, text in zip(places, texts, strict=True):
                    answers[place] = text
            yield from answers

    def sample(
        self,
        image: Picture,
        question: str,
        *,
        samples: int = 100,
        temperature: float = 0.8,
        seed: int = 0,
        top_p: float = 1.0,
        top_k: int = 0,
        batch_size: int = 64,
        max_new_tokens: int = 24,
    ) -> list[str]:
        """Answers drawn at random (Fig. 5), the same ones for the same seed and `batch_size`.

        `top_p` 1 and `top_k` 0 draw from all tokens; `batch_size` samples are drawn at a time.
        """
        _require_sampling(samples, temperature, top_p, top_k, batch_size)
        (prompt,) = self._prompts([Request((image,), question)], max_new_tokens)
        answers: list[str] = []
        with torch.random.fork_rng(devices=self._cuda_devices()):
            torch.manual_seed(seed)
            while len(answers) < samples:
                generation = self._generation(
                    max_new_tokens=max_new_tokens,
                    do_sample=True,
                    temperature=temperature,
                    top_p=top_p,
                    top_k=top_k,
                    num_return_sequences=min(batch_size, samples - len(answers)),
                )
                answers += self._generate([prompt], generation)
        return answers

    def _prompts(self, requests: Sequence[Asked], max_new_tokens: int) -> Iterator[_Prompt]:
        recent: dict[Path, Pixels] = {}
        for request in requests:
            # Only what this request shares with the one before is kept: questions of a photo come together.
            recent = {
                path: recent[path] for path in request.images if isinstance(path, Path) and path in recent
            }
            yield _Prompt(
                self._ids(request, max_new_tokens), tuple(self._pixels(i, recent) for i in request.images)
            )

    def _ids(self, request: Asked, max_new_tokens: int) -> list[int]:
        if not request.question.strip():
            raise UsageError("the question is empty; ask something like 'Which street is this?'")
        if not request.images:
            raise UsageError(f"there is no picture to the question {request.question!r}; give at least one")
        encoded = encode_conversation(
            self.backbone.tokenizer,
            [Turn(request.question, None)],
            image_tokens=self.backbone.image_tokens,
            images=len(request.images),
        )
        most = self.backbone.model.config.text_config.max_position_embeddings - max_new_tokens
        if len(encoded.ids) > most:
            raise UsageError(
                f"the question has {len(encoded.ids)} tokens with its pictures; at most {most} can be read"
            )
        return encoded.ids

    def _pixels(self, picture: Picture, recent: dict[Path, Pixels]) -> Pixels:
        if not isinstance(picture, Path):
            return self.backbone.preprocessing.pixels(picture)
        if picture not in recent:
            recent[picture] = self.backbone.preprocessing.pixels(open_image(picture))
        return recent[picture]

    @torch.inference_mode()
    def _generate(self, prompts: Sequence[_Prompt], generation: GenerationConfig) -> list[str]:
        """Answers to all prompts at once, padded on the left; `num_return_sequences` answers each."""
        model, tokenizer = self.backbone.model, self.backbone.tokenizer
        longest = max(len(prompt.ids) for prompt in prompts)
        ids = torch.full((len(prompts), longest), generation.pad_token_id)  # (batch, tokens)
        for row, prompt in zip(ids, prompts, strict=True):
            row[longest - len(prompt.ids) :] = torch.tensor(prompt.ids)
        lengths = torch.tensor([[len(prompt.ids)] for prompt in prompts])
        mask = (torch.arange(longest) >= longest - lengths).long()
        pixels = torch.from_numpy(np.stack([pixels for prompt in prompts for pixels in prompt.pixels]))
        images = self.backbone.preprocessing.normalise(pixels.to(model.device)).to(model.dtype)
        generated = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            pixel_values=images,
            generation_config=generation,
        )
        return [
            text.strip() for text in tokenizer.batch_decode(generated[:, longest:], skip_special_tokens=True)
        ]

    def _generation(self, **settings: float) -> GenerationConfig:
        tokenizer, end = self.backbone.tokenizer, self.backbone.end_id
        ends = [end] if tokenizer.eos_token_id in (None, end) else [end, tokenizer.eos_token_id]
        padding = end if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        return GenerationConfig(eos_token_id=ends, pad_token_id=padding, use_cache=True, **settings)

    def _cuda_devices(self) -> list[torch.device]:
        device = self.backbone.model.device
        return [device] if device.type == "cuda" else []


def _require_sampling(samples: int, temperature: float, top_p: float, top_k: int, batch_size: int) -> None:
    rules = {
        "samples": (samples, samples >= 1, "at least 1"),
        "temperature": (temperature, 0 < temperature < float("inf"), "above 0; without chance, use `ask`"),
        "top_p": (top_p, 0 < top_p <= 1, "in (0, 1]"),
        "top_k": (top_k, top_k >= 0, "0 (all tokens) or more"),
        "batch_size": (batch_size, batch_size >= 1, "at least 1"),
    }
    for name, (value, holds, rule) in rules.items():
        if not holds:
            raise UsageError(f"{name} is {value}, but it must be {rule}")
