import numpy as np
import pytest
import torch

from addressvlm.dataset.scenes import Name
from addressvlm.model.tokenizer import mini_tokenizer
from addressvlm.training.reading import (
    LETTER_COLUMNS,
    SLOTS,
    UNKNOWN,
    PageLosses,
    Sheet,
    letters_of,
    patch_of,
    tokens_of,
    with_neighbours,
)


def test_letters_are_asked_at_points_of_each_patch() -> None:
    cells = np.zeros((28, 28), np.uint8)
    cells[14:21, 0:5] = 7  # the upper left corner of the patch below the first
    cells[21:, 23:] = 9  # the lower right of the last
    letters = letters_of(cells, 14)
    assert letters.shape == (4, 4)
    assert letters[2].tolist() == [7, 0, 0, 0]
    assert letters[3].tolist() == [0, 0, 0, 9]
    assert not letters[:2].any()
    assert LETTER_COLUMNS == 2


def test_a_token_begins_where_its_first_letter_stands() -> None:
    tokenizer = mini_tokenizer()
    name = "Cranhurst Place"
    # One letter to 5 px on the first row of patches; the second word one row lower.
    middles = tuple(
        (2.5 + 5 * i, 7.0) if i < 9 else (2.5 + 5 * max(0, i - 10), 21.0) for i in range(len(name))
    )
    tokens = tokens_of([Name(name, (0, 0, 56, 28), 0.0, middles)], tokenizer, 14, 4)
    read = [
        "".join(
            tokenizer.convert_ids_to_tokens([token])[0] for token in row if token != tokenizer.pad_token_id
        )
        for row in tokens[:, 1:]
    ]
    whole = "".join(read)
    assert whole == "ĠCranhurstĠPlace"
    assert read[4] == "ĠPlace"  # begins in the first patch of the second row, wherever its space is
    assert read[0].startswith("ĠC")
    before = tokenizer.convert_ids_to_tokens(tokens[4, :1].tolist())[0]
    assert "ĠCranhurst".endswith(before)
    assert tokens[0, 0] == tokenizer.pad_token_id


def test_a_rolled_page_has_its_words_elsewhere() -> None:
    assert patch_of((5.0, 30.0), 14, 4) == 8  # first column, third row
    assert patch_of((5.0, 30.0), 14, 4, (0, 14)) == 9
    assert patch_of((5.0, 30.0), 14, 4, (30, 0)) == 0  # rolled down over the lower edge
    assert patch_of((55.9, 55.9), 14, 4) == 15
    tokenizer = mini_tokenizer()
    word = Name("Cranhurst", (0, 0, 45, 14), 0.0, tuple((2.5 + 5 * i, 7.0) for i in range(9)))
    still, rolled = (tokens_of([word], tokenizer, 14, 4, roll) for roll in ((0, 0), (28, 0)))
    assert (rolled[8:12] == still[:4]).all()
    assert (rolled[:8] == tokenizer.pad_token_id).all()


def test_no_more_tokens_than_there_is_room_for() -> None:
    tokenizer = mini_tokenizer()
    tokens = tokens_of([Name("xqzjk", (0, 0, 14, 14), 0.0, ((5.0, 5.0),) * 5)], tokenizer, 14, 1)
    assert tokens.shape == (1, SLOTS)
    assert tokenizer.pad_token_id not in tokens[:, 1:]


def test_a_patch_tells_the_letters_of_its_neighbours_in_the_line() -> None:
    letters = torch.arange(1, 19).view(1, 9, 2)  # three lines of three patches, two points each
    found = with_neighbours(letters)
    assert found.shape == (1, 9, 10)
    assert found[0, 4].tolist() == [UNKNOWN, UNKNOWN, 7, 8, 9, 10, 11, 12, UNKNOWN, UNKNOWN]
    assert found[0, 6].tolist() == [UNKNOWN] * 4 + [13, 14, 15, 16, 17, 18]


def test_patches_without_letters_are_not_asked_for_tokens() -> None:
    torch.manual_seed(0)
    losses = PageLosses(width=8, vocabulary=11, nothing=10)
    features, letters = torch.randn(2, 4, 8), torch.zeros(2, 4, 4, dtype=torch.long)
    tokens = torch.full((2, 4, SLOTS), UNKNOWN)
    assert losses(features, letters, tokens)["tokens"].item() == 0
    tokens[1, 2] = 5
    logits = losses.vocabulary(
        torch.nn.functional.gelu(losses.tokens(features[1, 2]).unflatten(-1, (SLOTS, -1)))
    )
    expected = -logits.log_softmax(-1)[:, 5].mean()
    assert losses(features, letters, tokens)["tokens"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_words_of_a_guest_stand_where_there_is_room() -> None:
    dice = np.random.default_rng(0)
    word = Name("Ab", (2, 3, 14, 13), 0.0, ((5.0, 8.0), (11.0, 8.0)))
    host = Sheet(np.zeros((3, 40, 40), np.uint8), np.zeros((40, 40), np.uint8), [word])
    guest = Sheet(np.full((3, 40, 40), 9, np.uint8), np.zeros((40, 40), np.uint8), [word] * 9)
    guest.letters[3:13, 2:8], guest.letters[3:13, 8:14] = 1, 28
    before = host.pixels
    host.take_in(guest, 4, dice)
    assert before.max() == 0  # the page itself is kept for other visits
    assert 2 < len(host.words) < 9
    drawn = np.zeros((40, 40), int)
    for one in host.words:
        left, top, right, bottom = one.box
        drawn[top:bottom, left:right] += 1
    assert drawn.max() == 1
    for one in host.words[1:]:
        left, top, right, bottom = one.box
        assert (left % 4, top % 4, right - left, bottom - top) == (2, 3, 12, 10)  # moved by whole patches
        for (across, down), letter in zip(one.middles, (1, 28), strict=True):
            assert host.letters[int(down), int(across)] == letter
    assert ((host.pixels[0] == 9) == (host.letters > 0)).all()
