from pathlib import Path

import numpy as np
import pytest

from addressvlm.dataset.tables import Conversation, read_conversations
from addressvlm.errors import AddressVLMError
from addressvlm.model.backbone import Backbone
from addressvlm.model.conversation import IGNORED, Encoded
from addressvlm.training.batches import Conversations, Sample, Shuffled, collate


def conversations(photos: Path, tiny: Backbone, **options: int) -> Conversations:
    settings = {"seed": 0, "max_length": 500} | options
    return Conversations(read_conversations(photos, "localization"), tiny, **settings)


def test_same_key_gives_the_same_sample(photos: Path, tiny: Backbone) -> None:
    one, two = conversations(photos, tiny)[1, 3], conversations(photos, tiny)[1, 3]
    assert one.encoded == two.encoded
    np.testing.assert_array_equal(one.pixels, two.pixels)


def test_turns_come_in_another_order_in_another_epoch(photos: Path, tiny: Backbone) -> None:
    data = conversations(photos, tiny)
    orders = {tuple(data[epoch, 0].encoded.ids) for epoch in range(20)}
    assert len(orders) == 6  # 3! orders of three turns


def test_drawn_rounds_are_others_in_another_epoch(photos: Path, tiny: Backbone) -> None:
    whole, data = conversations(photos, tiny), conversations(photos, tiny, rounds_drawn=1)
    lengths = {len(data[epoch, 0].encoded.ids) for epoch in range(20)}
    assert max(lengths) < len(whole[0, 0].encoded.ids)
    assert len({tuple(data[epoch, 0].encoded.ids) for epoch in range(20)}) == 3


def test_pictures_are_kept_only_as_long_as_they_fit(photos: Path, tiny: Backbone) -> None:
    data = conversations(photos, tiny, memory_bytes=5 * 3 * 28 * 28)
    pixels = [data[0, index].pixels for index in range(len(data))]
    assert len(data._kept) == 5
    np.testing.assert_array_equal(data[0, 11].pixels, pixels[11])


def test_missing_picture_is_an_error_at_once(photos: Path, tiny: Backbone) -> None:
    lost = Conversation("p", "l", (photos / "lost.jpg",), (("Where?", "Here"),))
    with pytest.raises(AddressVLMError, match=r"lost\.jpg does not exist"):
        Conversations([lost], tiny, seed=0, max_length=100)


def test_broken_picture_is_an_error_that_names_it(tmp_path: Path, tiny: Backbone) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff torn")
    torn = Conversation("p", "l", (tmp_path / "torn.jpg",), (("Where?", "Here"),))
    with pytest.raises(AddressVLMError, match=r"torn\.jpg cannot be read"):
        Conversations([torn], tiny, seed=0, max_length=100)[0, 0]


def test_conversation_that_is_too_long_is_an_error_at_once(photos: Path, tiny: Backbone) -> None:
    with pytest.raises(AddressVLMError, match=r"p00 has \d+ text tokens; raise max_length \(now 20\)"):
        conversations(photos, tiny, max_length=20)


def test_no_conversations_are_an_error(tiny: Backbone) -> None:
    with pytest.raises(AddressVLMError, match="no conversations"):
        Conversations([], tiny, seed=0, max_length=100)


def test_order_is_a_permutation_that_seed_and_epoch_decide() -> None:
    def order(seed: int, epoch: int) -> list[tuple[int, int]]:
        sampler = Shuffled(50, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 1) == order(0, 1)
    assert [index for _, index in order(0, 0)] != [index for _, index in order(0, 1)]
    assert [index for _, index in order(0, 0)] != [index for _, index in order(1, 0)]
    assert sorted(order(0, 1)) == [(1, index) for index in range(50)]


def test_batches_are_padded_on_the_right() -> None:
    picture = np.zeros((1, 3, 2, 2), np.uint8)
    samples = [
        Sample("a", Encoded([1, 2, 3], [IGNORED, 2, 3], [-1, 0, 1]), picture),
        Sample("b", Encoded([4], [IGNORED], [-1]), picture),
    ]
    batch = collate(samples, pad_id=9)
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 9, 9]]
    assert batch["labels"].tolist() == [[IGNORED, 2, 3], [IGNORED] * 3]
    assert batch["pixels"].shape == (2, 3, 2, 2)
    assert batch["photos"] == ["a", "b"]
