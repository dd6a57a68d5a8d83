from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from addressvlm.errors import AddressVLMError
from addressvlm.inference import nametrie
from addressvlm.inference.beliefs import score_names
from addressvlm.inference.nametrie import NameTrie
from addressvlm.inference.prompts import Sight, normalised, sight
from addressvlm.model.backbone import Backbone
from addressvlm.model.conversation import encode_text
from addressvlm.model.treepass import Rows, TreePass

QUESTION = "Which street is this?"
NAMES = (
    "Forest Avenue",
    "Forest Avenue East",
    "Forest Avenue East Side",
    "Oak",
    "Tübinger Straße",
    "本郷通り",
    "شارع",
    "Drop<|end|>\n<image>Table Road",
)


@pytest.fixture(scope="module")
def seen(tiny: Backbone, photos: list[Path]) -> list[Sight]:
    return [sight((photo,), [QUESTION], tiny, 64) for photo in photos]


@torch.inference_mode()
def alone(backbone: Backbone, seen: Sight, name: str, temperature: float) -> float:
    """The log-probability of a name by a pass of its own."""
    answer = encode_text(backbone.tokenizer, name)
    ids = [*seen.prompts[0], *answer]
    logits = backbone.model(
        input_ids=torch.tensor([ids]), pixel_values=normalised(seen.pixels, backbone)
    ).logits[0, len(seen.prompts[0]) - 1 :]
    logged = (logits / temperature).log_softmax(-1).double()
    words = sum(float(logged[place, token]) for place, token in enumerate(answer))
    return words + float(logged[-1, list(backbone.end_ids)].logsumexp(-1))


def scores(
    backbone: Backbone, spellings: Sequence[Sequence[str]], seen: Sequence[Sight], temperature: float = 1.0
) -> nametrie.Floats:
    trie = NameTrie(spellings, backbone)
    return np.stack(
        [row[0] for row in score_names(backbone, seen, [[trie]] * len(seen), temperature=temperature)]
    )


@pytest.mark.parametrize("temperature", [1.0, 0.8])
def test_each_name_has_the_probability_of_a_pass_of_its_own(
    tiny: Backbone, seen: list[Sight], temperature: float
) -> None:
    expected = [[alone(tiny, one, name, temperature) for name in NAMES] for one in seen]
    found = scores(tiny, [(name,) for name in NAMES], seen, temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_spellings_of_a_name_are_summed(tiny: Backbone, seen: list[Sight]) -> None:
    apart = scores(tiny, [("Oak Street",), ("Oak St",), ("Elm",)], seen)
    together = scores(tiny, [("Oak Street", "Oak St"), ("Elm",)], seen)
    np.testing.assert_allclose(together[:, 0], np.logaddexp(apart[:, 0], apart[:, 1]))
    np.testing.assert_allclose(together[:, 1], apart[:, 2])


def test_a_spelling_of_two_names_counts_once(tiny: Backbone, seen: list[Sight]) -> None:
    alone, shared = scores(tiny, [("Oak",)], seen), scores(tiny, [("Oak",), ("Oak", "Elm")], seen)
    np.testing.assert_allclose(shared[:, 0], alone[:, 0])
    np.testing.assert_allclose(shared[:, 1], scores(tiny, [("Elm",)], seen)[:, 0])


def test_a_name_without_letters_is_never_the_answer(tiny: Backbone, seen: list[Sight]) -> None:
    assert (scores(tiny, [("Oak",), ("",)], seen)[:, 1] == -np.inf).all()


@pytest.mark.parametrize("spellings", [[], [()], [("", " ")]])
def test_a_gazetteer_without_names_is_an_error(tiny: Backbone, spellings: list[tuple[str, ...]]) -> None:
    with pytest.raises(AddressVLMError, match="the gazetteer has no names"):
        NameTrie(spellings, tiny)


def test_parts_of_a_trie_give_what_the_whole_does(
    tiny: Backbone, seen: list[Sight], monkeypatch: pytest.MonkeyPatch
) -> None:
    spellings = [(f"{first} {second}",) for first in ("Oak", "Elm", "Low") for second in ("Street", "Road")]
    whole = scores(tiny, spellings, seen)
    monkeypatch.setattr(nametrie, "_TOKENS_AT_ONCE", 9)
    monkeypatch.setattr(nametrie, "_LOGITS_AT_ONCE", 9)
    trie = NameTrie(spellings, tiny)
    assert trie.tokens <= 9
    assert len(trie._parts) > 1
    in_parts = np.stack([row[0] for row in score_names(tiny, seen, [[trie]] * len(seen))])
    np.testing.assert_allclose(in_parts, whole, rtol=1e-5, atol=1e-5)


def test_questions_with_tries_of_their_own_are_read_together(tiny: Backbone, photos: list[Path]) -> None:
    streets, yes_no = (NameTrie([(n,) for n in names], tiny) for names in (NAMES, ("Yes", "No")))
    questions = (QUESTION, "Oak?", "Elm?", "Where?")
    asked = [[0, 1, 2], [3], [2, 1, 0, 3]]
    tries = [[yes_no if number in (1, 2) else streets for number in numbers] for numbers in asked]
    rows = [
        sight((photo,), [questions[number] for number in numbers], tiny, 64)
        for photo, numbers in zip(photos, asked, strict=True)
    ]
    together = score_names(tiny, rows, tries)
    for photo, numbers, of_sight, found in zip(photos, asked, tries, together, strict=True):
        for number, trie, score in zip(numbers, of_sight, found, strict=True):
            ((alone,),) = score_names(tiny, [sight((photo,), [questions[number]], tiny, 64)], [[trie]])
            np.testing.assert_allclose(score, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_ten_thousand_streets_are_looked_at_in_parts(
    tiny: Backbone, seen: list[Sight], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []
    look = TreePass.look

    def counting(reading: TreePass, rows: Rows) -> torch.Tensor:
        hidden = look(reading, rows)
        looked_at.append(hidden.shape[1])
        return hidden

    monkeypatch.setattr(TreePass, "look", counting)
    found = scores(tiny, [(f"{number} Street",) for number in range(10_000)], seen[:1])
    assert found.shape == (1, 10_000)
    assert np.isfinite(found).all()
    assert sum(looked_at) > 10_000
    assert max(looked_at) <= 2048
