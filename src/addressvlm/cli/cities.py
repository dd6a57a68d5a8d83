"""`addressvlm city`: photos, streets, districts and imagery of a city."""

from pathlib import Path
from typing import Annotated

import typer

from addressvlm.cli.options import AsJson, Out, Page, WorkersOrRay, print_result

app = typer.Typer(help="Photos, streets, districts and imagery of a city.", no_args_is_help=True)


@app.command("build")
def build(
    source: Annotated[
        str, typer.Argument(help="A city.toml, or mini-pitts, mini-sf, mini-tokyo, mini:SEED.")
    ],
    out: Out,
    radius_m: Annotated[
        float | None,
        typer.Option(help="How far a photo may be from its street. [default: 30]", show_default=False),
    ] = None,
    photo_px: Annotated[
        int | None, typer.Option(help="Longer side of the photos kept. [default: 768]", show_default=False)
    ] = None,
    locations: Annotated[
        int | None, typer.Option(help="Mini city: how many locations.", show_default=False)
    ] = None,
    views: Annotated[
        int | None, typer.Option(help="Mini city: views per location.", show_default=False)
    ] = None,
    workers: WorkersOrRay = None,
    as_json: AsJson = False,
) -> None:
    """Gather photos, streets, districts and imagery into one city folder, with an address for each photo."""
    from addressvlm.cities.build import build_city

    overrides = {
        name: value for name, value in (("locations", locations), ("views", views)) if value is not None
    }
    print_result(
        build_city(source, out, radius_m=radius_m, photo_px=photo_px, workers=workers, **overrides), as_json
    )


@app.command("imagery")
def imagery(
    city: Annotated[Path, typer.Argument(help="A city folder made by `city build`.")],
    satellite: Annotated[
        str | None,
        typer.Option(
            help="Where the tiles come from, as in a city.toml. [default: what the blueprint says]",
            show_default=False,
        ),
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="A tile server may be asked; its terms allow it.")
    ] = False,
    per_second: Annotated[float, typer.Option(help="Requests a second, at most.")] = 2.0,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Take tiles that are not what they were.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a city's tiles against its blueprint, and make again those that are not there."""
    from addressvlm.cities.blueprint import remake_imagery
    from addressvlm.imagery.webtiles import WebAccess

    web = WebAccess(per_second=per_second) if fetch else None
    print_result(remake_imagery(city, satellite, web=web, accept_changes=accept_changes), as_json)


@app.command("osm")
def osm(
    bounds: Annotated[str, typer.Argument(help="WEST,SOUTH,EAST,NORTH in degrees.")],
    overpass: Annotated[
        str, typer.Option(help="The Overpass API to ask, such as https://HOST/api/interpreter.")
    ],
    out: Annotated[Path, typer.Option(help="The .osm file to write.")],
    as_json: AsJson = False,
) -> None:
    """Fetch streets and districts of OpenStreetMap into a file, from a server that you name."""
    from addressvlm.geo.overpass import ATTRIBUTION, fetch_osm, parse_bounds

    asked = fetch_osm(overpass, parse_bounds(bounds), out)
    print_result(
        {"file": str(out), "fetched": asked, "attribution": ATTRIBUTION, "licence": "ODbL 1.0"}, as_json
    )


@app.command("show")
def show(
    city: Annotated[Path, typer.Argument(help="A city folder made by `city build`.")],
    page: Page = None,
    as_json: AsJson = False,
) -> None:
    """Show a city: a map of its places, counts and their balance, corners, rejected photos, some pictures."""
    from addressvlm.inspection.citypage import show_city

    print_result(show_city(city, page), as_json)
