from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smalltown import picture, row

from addressvlm.cities.build import build_city
from addressvlm.cities.duplicates import NEAR_BITS, Picture, repeated

WriteCity = Callable[..., Path]


def shown(name: str, location: str, bits: int = 0, sha256: str = "") -> Picture:
    return Picture(name, location, sha256 or name, f"{bits:064x}")


def test_the_same_bytes_are_taken_once() -> None:
    pictures = [Picture("a", "l1", "x", ""), Picture("b", "l2", "x", ""), Picture("c", "l1", "x", "")]
    assert repeated(pictures) == {1: "is the same picture as: a", 2: "is the same picture as: a"}


def test_what_looks_the_same_at_another_place_is_left_out() -> None:
    pictures = [shown("a", "l1"), shown("b", "l2", 0b1011), shown("c", "l1", 0b1)]
    assert repeated(pictures) == {1: "looks the same, at another place, as: a"}


@pytest.mark.parametrize(("bits", "found"), [(NEAR_BITS, True), (NEAR_BITS + 1, False)])
def test_a_dozen_bits_are_the_border(bits: int, found: bool) -> None:
    spread = sum(1 << (20 * number) for number in range(bits))  # each in another part
    assert (1 in repeated([shown("a", "l1"), shown("b", "l2", spread)])) == found


def test_pictures_without_likeness_are_judged_by_their_bytes_alone() -> None:
    assert repeated([Picture("a", "l1", "x", ""), Picture("b", "l2", "y", "")]) == {}


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from([0, 2**255 - 1]), st.sets(st.integers(0, 255), max_size=14)
        )
    )
)
def test_no_two_that_stay_look_the_same_at_different_places(drawn: list[tuple[int, int, set[int]]]) -> None:
    pictures = [
        shown(str(number), f"l{place}", base ^ sum(1 << bit for bit in flips))
        for number, (place, base, flips) in enumerate(drawn)
    ]
    left_out = repeated(pictures)
    stay = [picture for number, picture in enumerate(pictures) if number not in left_out]
    for a in stay:
        for b in stay:
            apart = (int(a.likeness, 16) ^ int(b.likeness, 16)).bit_count()
            assert a.location == b.location or apart > NEAR_BITS


def test_a_city_has_a_picture_once(town: Path, write_city: WriteCity, tmp_path: Path) -> None:
    picture(1, (90, 60)).save(town / "1.jpg")
    picture(1, (90, 60)).save(town / "2.jpg")
    toml = write_city([row(1, 45.001), row(2, 45.005), row(3, 45.002)])
    summary = build_city(toml, tmp_path / "out", workers=1)
    assert summary["rejected"] == {"is the same picture as": 1}
    assert "2.jpg,is the same picture as: 1.jpg" in (tmp_path / "out" / "rejected.csv").read_text("utf-8")
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir()) == [
        "p000001.jpg",
        "p000003.jpg",
    ]


def test_a_scaled_copy_of_another_place_is_left_out(
    town: Path, write_city: WriteCity, tmp_path: Path
) -> None:
    blocks = picture(1, (12, 9)).resize((600, 450), 0)
    blocks.save(town / "1.jpg")
    blocks.resize((300, 225)).save(town / "2.jpg", quality=60)
    toml = write_city([row(1, 45.001), row(2, 45.005)])
    summary = build_city(toml, tmp_path / "out", workers=1)
    assert summary["rejected"] == {"looks the same, at another place, as": 1}


def test_copies_are_kept_on_demand(town: Path, write_city: WriteCity, tmp_path: Path) -> None:
    picture(1).save(town / "2.jpg")
    toml = write_city([row(1, 45.001), row(2, 45.005)], 'duplicates = "keep"')
    build_city(toml, tmp_path / "out", workers=1)
    assert len(pd.read_parquet(tmp_path / "out" / "photos.parquet")) == 2
