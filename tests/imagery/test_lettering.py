import numpy as np
import pytest
from PIL import Image

from addressvlm.imagery.lettering import ALPHABET, Lettered, write_words


def written(words: list[str], seed: int, font_px: float = 8.0) -> Lettered:
    return write_words(
        Image.new("RGB", (112, 112), "#808080"), words, np.random.default_rng(seed), font_px=font_px
    )


@pytest.mark.parametrize("seed", range(6))
def test_every_letter_of_a_word_has_its_cell(seed: int) -> None:
    page = written(["Bxq"], seed)
    found = {ALPHABET[number - 1] for number in np.unique(page.letters) if number}
    assert found == set("Bxq")


@pytest.mark.parametrize("seed", range(6))
def test_cells_lie_on_the_ink(seed: int) -> None:
    page = written(["HHHH"], seed, font_px=16)
    ink = np.asarray(page.image.convert("L")) < 60
    assert ink.sum() > 100
    assert (page.letters[ink] > 0).mean() > 0.9


@pytest.mark.parametrize("seed", range(12))
def test_the_middle_of_a_letter_lies_in_its_cell(seed: int) -> None:
    page = written(["Wexbury Mdl"], seed, font_px=12)
    (word,) = page.words
    assert len(word.middles) == len(word.word)
    for letter, (x, y) in zip(word.word, word.middles, strict=True):
        if letter != " ":
            assert page.letters[int(y), int(x)] == ALPHABET.index(letter) + 1


def test_words_do_not_overlap_and_one_without_room_is_left_out() -> None:
    page = written(["Fenwick Avenue"] * 30, 0)
    assert 1 < len(page.words) < 30
    boxes = [word.box for word in page.words]
    for index, (left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left < right <= 112
        assert 0 <= top < bottom <= 112
        for other in boxes[index + 1 :]:
            assert left >= other[2] or other[0] >= right or top >= other[3] or other[1] >= bottom


def test_same_generator_same_page_and_the_picture_stays_as_it_was() -> None:
    blank = Image.new("RGB", (112, 112), "#808080")
    first, second = (write_words(blank, ["Ab Cd"], np.random.default_rng(3), font_px=9) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert (first.letters == second.letters).all()
    assert blank.getcolors() == [(112 * 112, (128, 128, 128))]
