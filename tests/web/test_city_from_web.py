"""A whole city whose tiles are fetched, from a server on this machine."""

import json
import shutil
from pathlib import Path

import mercantile
import pytest
from loopback import Reply, Server, png, serving

from addressvlm.cities.blueprint import remake_imagery
from addressvlm.cities.build import build_city
from addressvlm.cities.city import load_city
from addressvlm.cli.main import exit_code
from addressvlm.errors import AddressVLMError, UsageError
from addressvlm.imagery.webtiles import KEY, WebAccess

STREETS = {"First Street": [[9.0, 45.0], [9.0, 45.01]]}
AREA = [[[8.99, 44.99], [9.02, 44.99], [9.02, 45.02], [8.99, 45.02], [8.99, 44.99]]]


def town(folder: Path, *lines: str) -> Path:
    """A city file with places instead of photos."""
    for name, kind, shapes in (("streets", "LineString", STREETS), ("districts", "Polygon", {"West": AREA})):
        features = [
            {"type": "Feature", "properties": {"name": n}, "geometry": {"type": kind, "coordinates": c}}
            for n, c in shapes.items()
        ]
        (folder / f"{name}.geojson").write_text(
            json.dumps({"type": "FeatureCollection", "features": features})
        )
    (folder / "places.csv").write_text("lat,lon\n45.001,9.0\n45.008,9.0\n")
    usual = ('name = "Town"', 'photos = "places.csv"', "images = false", 'streets = "streets.geojson"')
    rest = ('districts = "districts.geojson"', "satellite_per_second = 50", 'satellite_cache = "cache"')
    (folder / "city.toml").write_text("\n".join((*usual, *rest, *lines)))
    return folder / "city.toml"


def fetched_freely(server: Server, *more: str) -> tuple[str, ...]:
    return (f'satellite = "{server.address}/{{z}}/{{x}}/{{y}}.png"', *more)


def fetched(server: Server, *more: str) -> tuple[str, ...]:
    return (f'satellite = "{server.address}/{{z}}/{{x}}/{{y}}.png?key={{key}}"', *more)


FETCH = ("satellite_fetch = true", 'attribution = "© Sky View"', "satellite_max_zoom = 17")


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(KEY, "s3cr3t")
    return "s3cr3t"


def test_a_city_of_fetched_tiles_works_alone_and_keeps_no_key(tmp_path: Path, key: str) -> None:
    with serving(lambda path: Reply(body=png())) as server:
        summary = build_city(town(tmp_path, *fetched(server, *FETCH)), tmp_path / "out", workers=1)
        asked = len(server.asked)
        assert asked == len(set(server.asked)) == summary["tiles"]
        assert all(path.endswith("?key=s3cr3t") for path in server.asked)
    city = load_city(tmp_path / "out")
    assert city.attribution == "© Sky View"
    blueprint = json.loads((tmp_path / "out" / "blueprint.json").read_text())
    assert blueprint["imagery"]["source"] == f"{server.address}/{{z}}/{{x}}/{{y}}.png?key={{key}}"
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes(), path


def test_a_stopped_fetch_goes_on_where_it_stopped(tmp_path: Path, key: str) -> None:
    refuse_from = 6
    with serving(
        lambda path: Reply(403) if len(server.asked) >= refuse_from else Reply(body=png())
    ) as server:
        toml = town(tmp_path, *fetched(server, *FETCH))
        with pytest.raises(AddressVLMError, match="answers 403"):
            build_city(toml, tmp_path / "out", workers=1)
        refuse_from = 1000
        summary = build_city(toml, tmp_path / "out", workers=1)
    assert len(server.asked) == summary["tiles"] + 1  # the one refused was asked for twice
    assert len(set(server.asked)) == summary["tiles"]


def test_the_blueprint_fetches_what_was_not_passed_on(tmp_path: Path) -> None:
    web = WebAccess(per_second=50, cache=tmp_path / "other cache")
    with serving(lambda path: Reply(body=png())) as server:
        build_city(town(tmp_path, *fetched_freely(server, *FETCH)), tmp_path / "out", workers=1)
        shutil.rmtree(tmp_path / "out" / "tiles")
        with pytest.raises(AddressVLMError, match="are missing; the imagery comes from http://127"):
            remake_imagery(tmp_path / "out")
        counts = remake_imagery(tmp_path / "out", web=web)
    assert counts["made"] == counts["tiles"] > 0


def test_a_key_is_sent_only_where_the_user_says(tmp_path: Path, key: str) -> None:
    web = WebAccess(per_second=50, cache=tmp_path / "other cache")
    with serving(lambda path: Reply(body=png())) as server:
        build_city(town(tmp_path, *fetched(server, *FETCH)), tmp_path / "out", workers=1)
        shutil.rmtree(tmp_path / "out" / "tiles")
        asked = len(server.asked)
        with pytest.raises(UsageError, match=r"wants a key for 127\.0\.0\.1.* --satellite URL"):
            remake_imagery(tmp_path / "out", web=web)
        assert len(server.asked) == asked
        address = f"{server.address}/{{z}}/{{x}}/{{y}}.png?key={{key}}"
        counts = remake_imagery(tmp_path / "out", address, web=web)
        assert all(path.endswith("?key=s3cr3t") for path in server.asked)
    assert counts["made"] == counts["tiles"] > 0


def test_the_command_checks_and_makes_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    command = ["city", "imagery", str(tmp_path / "out"), "--json"]
    with serving(lambda path: Reply(body=png())) as server:
        build_city(town(tmp_path, *fetched_freely(server, *FETCH)), tmp_path / "out", workers=1)
        assert exit_code(command) == 0
        shutil.rmtree(tmp_path / "out" / "tiles")
        assert exit_code(command) == 3
        capsys.readouterr()
        assert exit_code([*command, "--fetch", "--per-second", "50"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["made"] == counts["tiles"] > 0


def test_places_the_server_has_no_tile_of_are_rejected(tmp_path: Path, key: str) -> None:
    north = mercantile.tile(9.0, 45.008, 15).y

    def answer(path: str) -> Reply:
        zoom, _, y = (int(part) for part in path.split(".")[0].split("/")[1:])
        return Reply(404) if y >> (zoom - 15) == north else Reply(body=png())

    assert mercantile.tile(9.0, 45.001, 15).y != north
    with serving(answer) as server:
        summary = build_city(town(tmp_path, *fetched(server, *FETCH)), tmp_path / "out", workers=1)
    assert summary["rejected"] == {"no satellite tile shows its place": 1}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), "nothing is fetched from the web unless satellite_fetch = true"),
        (("satellite_fetch = true",), "attribution is empty; tiles are not fetched without naming"),
    ],
)
def test_nothing_is_fetched_without_leave_and_a_name(
    tmp_path: Path, key: str, lines: tuple[str, ...], words: str
) -> None:
    with serving(lambda path: Reply(body=png())) as server, pytest.raises(UsageError, match=words):
        build_city(town(tmp_path, *fetched(server, *lines)), tmp_path / "out", workers=1)
    assert server.asked == []
