"""Streets and districts of OpenStreetMap from a server of the Overpass API that the user names.

What comes back is an ordinary `.osm` file, to be named in `city.toml` like any other: it is asked for once.
"""

import hashlib
from pathlib import Path
from urllib.parse import urlencode

from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.fetching import Fetcher, host_of, refusal
from addressvlm.folders import write_atomically
from addressvlm.geo.places import Bounds

ATTRIBUTION = "© OpenStreetMap contributors"

_SERVER_S = 180
_MOST_BYTES = 500_000_000
_MOST_DEGREES2 = 1.0  # about 100 km each way: beyond that an extract is the way
_PLACES = "^(borough|suburb|quarter|neighbourhood|city_district|district)$"


def query(bounds: Bounds) -> str:
    """What is asked: named highways, administrative boundaries and places in a box, with their nodes."""
    box = f"({bounds.south:.6f},{bounds.west:.6f},{bounds.north:.6f},{bounds.east:.6f})"
    return (
        f"[out:xml][timeout:{_SERVER_S}];("
        f'way["highway"]["name"]{box};'
        f'relation["boundary"="administrative"]{box};'
        f'nwr["place"~"{_PLACES}"]{box};'
        ");(._;>;);out body;"
    )


def fetch_osm(endpoint: str, bounds: Bounds, out: Path, *, fetcher: Fetcher | None = None) -> bool:
    """Write what an Overpass server has of a box to `out`, an `.osm` file; a second time asks nobody.

    Returns whether the server was asked. Raises `UsageError` for a box that is none or too large, and
    `AddressVLMError` where the server refuses, fails or answers with something else.
    """
    _check(bounds, out)
    asked = hashlib.sha256(f"{endpoint}\n{query(bounds)}".encode()).hexdigest()
    note = out.with_name(f"{out.name}.query")
    if out.exists():
        if note.exists() and note.read_text("utf-8").strip() == asked:
            return False
        raise UsageError(f"{out} is there already and holds something else; choose another name")
    fetcher = fetcher or Fetcher(
        per_second=0.5, timeout_s=_SERVER_S + 30, backoff_s=15, most_bytes=_MOST_BYTES
    )
    answer = fetcher.get(endpoint, urlencode({"data": query(bounds)}).encode())
    host = host_of(endpoint)
    if answer.status == 429:
        raise refusal(host, answer, "it is busy or wants fewer requests; try again in some minutes")
    if answer.status != 200:
        raise refusal(host, answer, "check the address of the Overpass API, which ends with /api/interpreter")
    text = answer.body.rstrip()
    if not (b"<osm " in text[:1000] and text.endswith(b"</osm>")):
        raise AddressVLMError(
            f"{host} answers with {answer.kind} that is no whole OSM file; is this an Overpass API?"
        )
    if b"<remark>" in text[-5000:]:  # so Overpass tells of its own time-outs, with status 200
        raise AddressVLMError(f"{host} gave up half way (its time or memory ended); ask for a smaller box")
    out.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(out) as temporary:
        temporary.write_bytes(answer.body)
    with write_atomically(note) as temporary:
        temporary.write_text(asked + "\n", "utf-8")
    return True


def parse_bounds(text: str) -> Bounds:
    """A box from "WEST,SOUTH,EAST,NORTH" in degrees."""
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is no box; write WEST,SOUTH,EAST,NORTH in degrees") from None
    return Bounds(west, south, east, north)


def _check(bounds: Bounds, out: Path) -> None:
    wide, high = bounds.east - bounds.west, bounds.north - bounds.south
    if not (wide > 0 and high > 0 and abs(bounds.north) <= 90 and abs(bounds.south) <= 90):
        raise UsageError(f"{bounds} is no box on earth: west must be below east and south below north")
    if wide * high > _MOST_DEGREES2:
        raise UsageError(
            f"a box of {wide:g} by {high:g} degrees is too much to ask of an Overpass server; "
            "take an extract (.osm.pbf) instead"
        )
    if out.suffix != ".osm":
        raise UsageError(f"{out} must end with .osm, which is what an Overpass server sends")
