import math

from hypothesis import given
from hypothesis import strategies as st

from addressvlm.cities.locations import founders, locations_of
from addressvlm.cities.photos import Offer

METRE = 1 / 111_195  # degrees of latitude


def at(*metres: float, lat: float = 45.0) -> list[Offer]:
    """Photos on a line to the north, so many metres from its begin."""
    return [Offer(f"{number}.jpg", lat=lat + far * METRE, lon=9.0) for number, far in enumerate(metres)]


def test_photos_within_reach_of_the_first_are_at_its_location() -> None:
    assert locations_of(at(0, 3, 4.9, 5.1, 8), 5) == ["l000001"] * 3 + ["l000002"] * 2


def test_a_row_of_photos_does_not_melt_into_one() -> None:
    found = locations_of(at(*range(100)), 5)  # a photo every metre
    assert len(set(found)) == 17  # founders stand every 6 m
    assert max(found.count(location) for location in found) <= 9


def test_a_photo_belongs_to_the_nearest_founder() -> None:
    assert locations_of(at(0, 8, 4.5), 5) == ["l000001", "l000002", "l000002"]


def test_a_hair_is_not_a_border() -> None:
    # On either side of 45.000005, where rounding to five decimals changes.
    offers = [Offer("a.jpg", lat=45.0000049, lon=9), Offer("b.jpg", lat=45.0000051, lon=9)]
    assert locations_of(offers, 0) == ["l000001", "l000002"]
    assert locations_of(offers, 1) == ["l000001", "l000001"]


def test_what_the_user_says_counts() -> None:
    a, b, c = at(0, 0, 0)
    offers = [Offer("a.jpg", lat=a.lat, lon=9, location="x"), b, Offer("c.jpg", location="x"), c]
    assert locations_of(offers, 5) == ["l000001", "l000002", "l000001", "l000002"]


def test_photos_without_a_place_on_earth_do_no_harm() -> None:
    lost = [Offer("a.jpg"), Offer("b.jpg", lat=1e300, lon=math.inf), Offer("c.jpg", lat=91, lon=0)]
    assert locations_of([*lost, *at(0, 1)], 5)[3:] == ["l000004", "l000004"]


def test_the_end_of_the_degrees_is_not_an_end_of_the_world() -> None:
    offers = [Offer("a.jpg", lat=-17, lon=179.999999), Offer("b.jpg", lat=-17, lon=-179.999999)]
    assert len(set(locations_of(offers, 5))) == 1


@given(
    points=st.lists(st.tuples(*[st.floats(-60, 60)] * 3), max_size=60),
    reach_m=st.floats(0.5, 30),
)
def test_founders_are_apart_and_their_photos_near(points: list[tuple[float, ...]], reach_m: float) -> None:
    joined = founders(points, reach_m)
    own = [number for number, founder in enumerate(joined) if number == founder]
    assert set(joined) == set(own)
    assert all(math.dist(points[number], points[founder]) <= reach_m for number, founder in enumerate(joined))
    assert all(math.dist(points[a], points[b]) > reach_m for a in own for b in own if a < b)
