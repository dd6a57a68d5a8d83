import numpy as np
import pytest
from PIL import Image

from addressvlm.imagery.lettering import ALPHABET, Lettered, Lettering, write_words


def blank() -> Image.Image:
    return Image.new("RGB", (112, 112), "#808080")


def written(words: list[str], seed: int, font_px: float = 8.0) -> Lettered:
    return write_words(blank(), words, np.random.default_rng(seed), font_px=font_px)


@pytest.mark.parametrize("font_px", [8.0, 10.0, 16.0])
def test_cells_lie_on_the_ink(font_px: float) -> None:
    page = written(["HHHHH"], 0, font_px)
    ink = np.asarray(page.image.convert("L")) < 60
    assert ink.sum() > 20
    assert (page.letters[ink] == ALPHABET.index("H") + 1).mean() > 0.95


def test_a_letter_looks_alike_in_every_cell() -> None:
    page = written(["ABABA", "B A"], 1, font_px=10)
    looks: dict[int, set[bytes]] = {}
    pixels = np.asarray(page.image)
    for word in page.words:
        for letter, (x, y) in zip(word.word, word.middles, strict=True):
            if letter != " ":
                cell = pixels[
                    int(y) - 4 : int(y) + 5, int(x) - 2 : int(x) + 3
                ]  # without its neighbours' halos
                looks.setdefault(ord(letter), set()).add((cell < 60).tobytes())
    assert {letter: len(found) for letter, found in looks.items()} == {ord("A"): 1, ord("B"): 1}


def test_names_stand_on_the_grid_a_line_for_each_part() -> None:
    lettering = Lettering(blank(), font_px=10)
    word = lettering.write("Wexbury Mdl", 2, 3)
    assert lettering.cell_px == (6, 12)
    assert word is not None
    assert word.middles[0] == (2 * 6 + 3, 3 * 12 + 6)
    assert word.middles[8] == (2 * 6 + 3, 4 * 12 + 6)  # M
    assert len(word.middles) == len(word.word)
    letters = lettering.done().letters
    for letter, (x, y) in zip(word.word, word.middles, strict=True):
        if letter != " ":
            assert letters[int(y), int(x)] == ALPHABET.index(letter) + 1


def test_there_is_no_room_beyond_the_edges_on_another_name_or_on_what_is_reserved() -> None:
    lettering = Lettering(blank(), font_px=10)
    lettering.reserve((56, 0, 112, 56))
    assert lettering.write("Elm Lane", -1, 0) is None
    assert lettering.write("Elm Lane", 0, 8) is None
    assert lettering.write("Elm Lane", 8, 0) is None
    assert lettering.write("Elm Lane", 0, 5) is not None
    assert lettering.write("Oak Lane", 2, 6) is None
    assert [word.word for word in lettering.done().words] == ["Elm Lane"]


def test_words_do_not_overlap_and_one_without_room_is_left_out() -> None:
    page = written(["Fenwick Avenue"] * 30, 0)
    assert 1 < len(page.words) < 30
    boxes = [word.box for word in page.words]
    for index, (left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left < right <= 112
        assert 0 <= top < bottom <= 112
        for other in boxes[index + 1 :]:
            assert left >= other[2] or other[0] >= right or top >= other[3] or other[1] >= bottom


def test_what_is_written_lies_inside_the_box() -> None:
    page = written(["Quiggly Jay"], 2, font_px=10)
    (word,) = page.words
    changed = (np.asarray(page.image) != np.asarray(blank())).any(axis=2)
    left, top, right, bottom = word.box
    assert changed[top:bottom, left:right].any()
    changed[top:bottom, left:right] = False
    assert not changed.any()


def test_same_generator_same_page_and_the_picture_stays_as_it_was() -> None:
    picture = blank()
    first, second = (write_words(picture, ["Ab Cd"], np.random.default_rng(3), font_px=9) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert (first.letters == second.letters).all()
    assert picture.getcolors() == [(112 * 112, (128, 128, 128))]
