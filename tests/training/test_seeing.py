import numpy as np
import pytest
import torch

from addressvlm.training.glimpses import Glimpse, collate
from addressvlm.training.reading import SLOTS, UNKNOWN
from addressvlm.training.seeing import contrast, contrast_with, pick


def test_contrast_is_the_cross_entropy_of_finding_the_friend() -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    loss = contrast(vectors, torch.tensor([0, 0, 1, 2]))
    # Likeness 10 with the friend, 0 with the two strangers; those two have no friends and are not counted.
    assert loss.item() == pytest.approx(float(np.log(1 + 2 * np.exp(-10))), abs=1e-6)


def test_contrast_of_strangers_is_worse_and_the_length_of_vectors_does_not_count() -> None:
    groups = torch.tensor([0, 0, 1, 1])
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [0.1, 1.0]])
    mixed, sorted_ = contrast(vectors, groups), contrast(vectors[[0, 2, 1, 3]], groups)
    assert mixed > 5 > 1 > sorted_
    assert contrast(vectors * 7, groups).item() == pytest.approx(mixed.item(), rel=1e-5)


def test_contrast_with_others_looks_for_friends_among_them() -> None:
    vectors, others = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    loss = contrast_with(vectors, torch.tensor([4]), others, torch.tensor([4, 5, 4]))
    assert loss.item() == pytest.approx(float(np.log(2 + np.exp(-10))), abs=1e-5)
    nothing = contrast_with(vectors[:0], torch.tensor([], dtype=torch.long), others, torch.tensor([4, 5, 4]))
    assert nothing.item() == 0


def test_a_name_is_picked_by_any_of_its_patches() -> None:
    logits = torch.tensor([[0.0, 1.0, 0.0, 9.0], [1.0, 2.0, 3.0, 4.0]])
    owners = torch.tensor([[1, 0, 1, UNKNOWN], [1, 1, UNKNOWN, UNKNOWN]])  # the second map leaves no choice
    assert pick(logits, owners).item() == pytest.approx(float(np.log(2 + np.e) - np.log(2)), abs=1e-5)
    assert pick(logits[1:], owners[1:]).item() == 0


def glimpse(road: int) -> Glimpse:
    return Glimpse(
        views=np.zeros((2, 3, 4, 4), np.uint8),
        maps=np.zeros((2, 3, 4, 4), np.uint8),
        roads=np.array([road, 1]),
        map_roads=np.array([road, 1]),
        quarters=np.array([0, 0]),
        attributes=np.zeros((2, 5), np.float32),
        surfaces=np.zeros((2, 1, 4), np.int64),
        ground=np.zeros((2, 1, 4), np.int64),
        letters=np.full((2, 1, 4), UNKNOWN),
        tokens=np.full((2, 1, SLOTS), UNKNOWN),
        places=np.array([UNKNOWN, 0]),
        spots=np.array([0, UNKNOWN]),
        owners=np.array([[UNKNOWN], [1]]),
        cells=np.array([[UNKNOWN], [4]]),
        middles=np.zeros((2, 1, 2), np.float32),
    )


def test_cities_of_a_batch_share_no_road() -> None:
    batch = collate([glimpse(0), glimpse(0)])
    assert batch["views"].shape == (4, 3, 4, 4)
    assert len(set(batch["roads"].tolist())) == 4
    assert batch["quarters"].tolist() == [0, 0, 1000, 1000]
