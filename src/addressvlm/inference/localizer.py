"""A trained model that is asked about photos: answers in one pass over each photo, and samples."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import GenerationConfig

from addressvlm.dataset.answers import Level
from addressvlm.dataset.questions import plain_questions
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.folders import require_complete
from addressvlm.inference.beliefs import score_names, tries_of
from addressvlm.inference.drafts import Drafts
from addressvlm.inference.gazetteer import Gazetteer
from addressvlm.inference.generating import generate, generation_config
from addressvlm.inference.nametrie import Floats, NameTrie
from addressvlm.inference.onepass import answer_sights, tokens_at_once
from addressvlm.inference.prompts import Asked, Picture, Request, Sight, sight, sights
from addressvlm.model.backbone import Backbone, load_run
from addressvlm.model.conversation import answer_tokens
from addressvlm.model.pictures import reads_trees
from addressvlm.model.treeattention import use_tree_attention
from addressvlm.work import batched_by, keep_freed_memory

if TYPE_CHECKING:
    import geopandas as gpd

GAZETTEER = "gazetteer.parquet"

ENGINES = ("tree", "generate")

# Batches that are sorted by length together: enough to waste little on padding, few enough to keep in memory.
_WINDOW_BATCHES = 8
_PROMPTS_AT_ONCE = 64
ROOM_FOR_A_NAME = 64
_SHORT_ANSWER = 24


class Localizer:
    """A trained model that answers questions about photos, and the names and shapes it was trained with."""

    def __init__(self, backbone: Backbone, run: Path | None = None):
        self.backbone = backbone
        self.run = run
        self.reads_trees = reads_trees(backbone.model.config)
        if self.reads_trees:
            use_tree_attention(backbone.model)

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

    def ask(self, image: Picture, question: str, *, max_new_tokens: int | None = None) -> str:
        """The most probable answer, word by word, to one question about one picture."""
        return next(self.answer([Request((image,), question)], max_new_tokens=max_new_tokens))

    def answer(
        self,
        requests: Sequence[Asked],
        *,
        engine: str = "tree",
        batch_size: int | None = None,
        max_new_tokens: int | None = None,
    ) -> Iterator[str]:
        """The greedy answers to all requests, in their order.

        `engine` is `tree`, where pictures that consecutive requests share are read once and every question is
        a branch behind them, or `generate`, the plain one of Transformers; in float32 their answers are the
        same. A model that cannot read trees (in MiniCPM-V's, a state goes from token to token) always
        generates. `batch_size` questions are read at a time (default: what suits the device), answers end
        after `max_new_tokens` (default: `room`). Raises
        `UsageError` for an empty or too long question, `AddressVLMError` for a picture that cannot be opened.
        """
        max_new_tokens = self.room if max_new_tokens is None else max_new_tokens
        if (batch_size is not None and batch_size < 1) or max_new_tokens < 1:
            raise UsageError(
                f"batch_size {batch_size} and max_new_tokens {max_new_tokens} must be at least 1"
            )
        if engine not in ENGINES:
            raise UsageError(f"there is no engine {engine!r}; there are {' and '.join(ENGINES)}")
        asked = sights(requests, self.backbone, max_new_tokens)
        if engine == "generate" or not self.reads_trees:
            return self._generated(asked, batch_size or _PROMPTS_AT_ONCE, max_new_tokens)
        if batch_size is None:
            return self._read(
                asked, tokens_at_once(self.backbone), lambda sight: sight.tokens, max_new_tokens
            )
        return self._read(asked, batch_size, lambda sight: len(sight.prompts), max_new_tokens)

    def _read(
        self, asked: Iterable[Sight], most: int, cost: Callable[[Sight], int], max_new_tokens: int
    ) -> Iterator[str]:
        """Answers in one pass over the pictures; the `cost` of a batch is `most`, or it is a single sight."""
        for window in batched_by(asked, most * _WINDOW_BATCHES, cost):
            answers: dict[int, list[str]] = {}
            by_length = sorted(enumerate(window), key=lambda numbered: numbered[1].tokens)
            for batch in batched_by(by_length, most, lambda numbered: cost(numbered[1])):
                read = answer_sights(
                    self.backbone,
                    [sight for _, sight in batch],
                    max_new_tokens=max_new_tokens,
                    drafts=self._drafts,
                )
                texts = iter(self._texts(read))
                for number, asked_together in batch:
                    answers[number] = list(islice(texts, len(asked_together.prompts)))
            for number in range(len(window)):
                yield from answers[number]

    def _generated(self, asked: Iterable[Sight], batch_size: int, max_new_tokens: int) -> Iterator[str]:
        """Answers by `generate`, in batches of similar length."""
        generation = generation_config(self.backbone, max_new_tokens=max_new_tokens, do_sample=False)
        prompts = ((ids, sight.pixels) for sight in asked for ids in sight.prompts)
        while window := list(islice(prompts, batch_size * _WINDOW_BATCHES)):
            answers = [""] * len(window)
            order = sorted(range(len(window)), key=lambda place: len(window[place][0]))
            for begin in range(0, len(order), batch_size):
                places = order[begin : begin + batch_size]
                texts = generate(self.backbone, [window[place] for place in places], generation)
                for place, text in zip(places, texts, strict=True):
                    answers[place] = text
            yield from answers

    def distribution(
        self, image: Picture, question: str, level: Level = "street", *, temperature: float = 1.0
    ) -> Floats:
        """The log-probabilities of all names of a level as answers to one question about one picture.

        They are in the order of `names` (`both`: of its pairs); samples at the same temperature spread so.
        """
        (beliefs,) = self.distributions([(image,)], [{level: question}], temperature=temperature)
        return beliefs[level]

    def distributions(
        self,
        photos: Sequence[Sequence[Picture]],
        questions: Sequence[Mapping[Level, str]] | None = None,
        *,
        temperature: float = 1.0,
        batch_size: int | None = None,
    ) -> Iterator[dict[Level, Floats]]:
        """The log-probabilities of all names, by level, for each photo (one or more pictures).

        `questions` are what to ask about each, of all the same levels (default: the joint question alone,
        whose pairs tell of streets and districts, too). `temperature` is that of sampling. `batch_size`
        photos are read at a time.
        """
        require_temperature(temperature)
        self.require_trees()
        asked = questions or [{"both": plain_questions(self.levels)["both"]}] * len(photos)
        levels = list(asked[0]) if asked else []
        tries = [self.tries[level] for level in levels]
        read = (
            sight(images, [words[level] for level in levels], self.backbone, ROOM_FOR_A_NAME)
            for images, words in zip(photos, asked, strict=True)
        )
        most = batch_size or tokens_at_once(self.backbone)
        looked_at = max((trie.tokens for trie in tries), default=0)
        for batch in batched_by(read, most, lambda seen: 1 if batch_size else seen.tokens + looked_at):
            for scores in score_names(self.backbone, batch, [tries] * len(batch), temperature=temperature):
                yield dict(zip(levels, scores, strict=True))

    def require_trees(self) -> None:
        """Raise `AddressVLMError` for a model that cannot read many names at once."""
        if not self.reads_trees:
            raise AddressVLMError(
                f"{self.backbone.name} cannot read many names at once, so there are no exact probabilities "
                "of them; ask it (`ask`, `evaluate`), or draw samples (`Localizer.sample`)"
            )

    @cached_property
    def room(self) -> int:
        """How many tokens an answer may take: as many as the longest name of the gazetteer with its end."""
        longest = max((len(tokens) for tokens in self._tokens_of_names), default=0)
        return max(_SHORT_ANSWER, longest + 1)

    @cached_property
    def _drafts(self) -> Drafts:
        """How answers go on that are names."""
        return Drafts(self._tokens_of_names)

    @cached_property
    def _tokens_of_names(self) -> list[tuple[int, ...]]:
        """All answers that are names of the gazetteer, as tokens without their end; none without one."""
        if self.run is None or not (self.run / GAZETTEER).is_file():
            return []
        names = self.names
        texts = [
            *names.pair_names,
            *(text for level in names.spellings.values() for some in level for text in some),
        ]
        return [answer_tokens(self.backbone.tokenizer, text) for text in texts]

    @cached_property
    def names(self) -> Gazetteer:
        """The names of the gazetteer, in the order of its distributions."""
        return Gazetteer.of(self.gazetteer)

    @cached_property
    def levels(self) -> tuple[str, str]:
        """What the city calls its two levels."""
        about = {} if self.run is None else require_complete(self.run)
        district, street = about.get("levels", ("district", "street"))
        return district, street

    @cached_property
    def tries(self) -> dict[Level, NameTrie]:
        """The names of every level as tries of tokens."""
        return tries_of(self.names, self.backbone)

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
        max_new_tokens: int | None = None,
    ) -> list[str]:
        """Answers drawn at random (Fig. 5), the same ones for the same seed and `batch_size`.

        `top_p` 1 and `top_k` 0 draw from all tokens; `batch_size` samples are drawn at a time.
        """
        _require_sampling(samples, temperature, top_p, top_k, batch_size)
        max_new_tokens = self.room if max_new_tokens is None else max_new_tokens
        (sight,) = sights([Request((image,), question)], self.backbone, max_new_tokens)
        answers: list[str] = []
        with torch.random.fork_rng(devices=self._cuda_devices()):
            torch.manual_seed(seed)
            while len(answers) < samples:
                generation = generation_config(
                    self.backbone,
                    max_new_tokens=max_new_tokens,
                    do_sample=True,
                    temperature=temperature,
                    top_p=top_p,
                    top_k=top_k,
                )
                drawn = [(sight.prompts[0], sight.pixels)] * min(batch_size, samples - len(answers))
                answers += generate(self.backbone, drawn, generation)
        return answers

    def _texts(self, answers: Sequence[Sequence[int]]) -> list[str]:
        texts: list[str] = self.backbone.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _cuda_devices(self) -> list[torch.device]:
        device = self.backbone.model.device
        return [device] if device.type == "cuda" else []


def require_temperature(temperature: float) -> None:
    """Refuse a temperature that leaves nothing to chance, or everything."""
    if not 0 < temperature < float("inf"):
        raise UsageError(f"temperature is {temperature}, but it must be above 0; without chance, use `ask`")


def _require_sampling(samples: int, temperature: float, top_p: float, top_k: int, batch_size: int) -> None:
    require_temperature(temperature)
    rules = {
        "samples": (samples, samples >= 1, "at least 1"),
        "top_p": (top_p, 0 < top_p <= 1, "in (0, 1]"),
        "top_k": (top_k, top_k >= 0, "0 (all tokens) or more"),
        "batch_size": (batch_size, batch_size >= 1, "at least 1"),
    }
    for name, (value, holds, rule) in rules.items():
        if not holds:
            raise UsageError(f"{name} is {value}, but it must be {rule}")
