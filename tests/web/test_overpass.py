import json
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from loopback import Reply, serving

from addressvlm.cli.main import exit_code
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.fetching import Fetcher
from addressvlm.geo.overpass import fetch_osm, parse_bounds
from addressvlm.geo.places import Bounds
from addressvlm.geo.reading import read_districts, read_streets

BOX = Bounds(9.0, 45.0, 9.1, 45.1)
# What Overpass sends: nodes, then ways, then relations.
OSM = b"""<?xml version="1.0" encoding="UTF-8"?>
<osm version="0.6" generator="Overpass API">
<note>The data included in this document is from www.openstreetmap.org.</note>
<node id="1" lat="45.0" lon="9.0"/><node id="2" lat="45.0" lon="9.01"/><node id="3" lat="45.01" lon="9.01"/>
<way id="10"><nd ref="1"/><nd ref="2"/><tag k="highway" v="residential"/><tag k="name" v="Elm Street"/></way>
<way id="11"><nd ref="1"/><nd ref="2"/><nd ref="3"/><nd ref="1"/>
<tag k="place" v="suburb"/><tag k="name" v="Borgo"/></way>
</osm>
"""


def quick() -> Fetcher:
    return Fetcher(per_second=1000, tries=2, backoff_s=0.001, timeout_s=0.2)


def fetch(address: str, out: Path) -> bool:
    return fetch_osm(f"{address}/api/interpreter", BOX, out, fetcher=quick())


def test_what_is_fetched_is_an_ordinary_file_of_streets_and_districts(tmp_path: Path) -> None:
    with serving(lambda path: Reply(body=OSM, kind="application/osm3s+xml")) as server:
        assert fetch(server.address, tmp_path / "town.osm")
    assert read_streets(tmp_path / "town.osm")["name"].tolist() == ["Elm Street"]
    assert read_districts(tmp_path / "town.osm")["name"].tolist() == ["Borgo"]
    asked = dict(parse_qsl(server.bodies[0].decode()))
    assert 'way["highway"]["name"](45.000000,9.000000,45.100000,9.100000);' in asked["data"]


def test_the_same_box_is_asked_for_once_and_another_one_is_refused(tmp_path: Path) -> None:
    with serving(lambda path: Reply(body=OSM)) as server:
        assert fetch(server.address, tmp_path / "town.osm")
        assert not fetch(server.address, tmp_path / "town.osm")
        other = Bounds(9.0, 45.0, 9.1, 45.2)
        with pytest.raises(UsageError, match="holds something else"):
            fetch_osm(f"{server.address}/api/interpreter", other, tmp_path / "town.osm", fetcher=quick())
    assert len(server.asked) == 1


def test_the_command_writes_the_file_and_says_whose_the_data_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda path: Reply(body=OSM)) as server:
        command = ["city", "osm", "9.0,45.0,9.1,45.1", "--overpass", f"{server.address}/api/interpreter"]
        assert exit_code([*command, "--out", str(tmp_path / "new" / "town.osm"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["fetched"], told["attribution"]) == (True, "© OpenStreetMap contributors")
    assert (tmp_path / "new" / "town.osm").read_bytes() == OSM


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(429), "answers 429: it is busy"),
        (Reply(404), "answers 404: check the address"),
        (Reply(504), "answers 504"),
        (Reply(stall_s=5), "does not answer within"),
        (
            Reply(body=b"<html>no</html>", kind="text/html"),
            "answers with text/html that is no whole OSM file",
        ),
        (Reply(body=OSM[:-9]), "no whole OSM file"),
        (Reply(body=OSM.replace(b"</osm>", b"<remark>runtime error: timed out</remark></osm>")), "half way"),
    ],
)
def test_anything_else_is_an_error_and_leaves_no_file(tmp_path: Path, reply: Reply, words: str) -> None:
    with serving(lambda path: reply) as server, pytest.raises(AddressVLMError, match=words):
        fetch(server.address, tmp_path / "town.osm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["9,45,9.1", "a,b,c,d", "9.1,45,9,45.1", "9,-95,9.1,45", "0,0,20,20"])
def test_a_box_must_be_one(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="box"):
        fetch_osm("http://127.0.0.1:9/api", parse_bounds(text), tmp_path / "town.osm", fetcher=quick())
