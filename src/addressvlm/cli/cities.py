"""`addressvlm city`: photos, streets, districts and imagery of a city."""

from pathlib import Path
from typing import Annotated

import typer

from addressvlm.cli.options import AsJson, Out, Page, Workers, print_result

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
    workers: Workers = None,
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


@app.command("show")
def show(
    city: Annotated[Path, typer.Argument(help="A city folder made by `city build`.")],
    page: Page = None,
    as_json: AsJson = False,
) -> None:
    """Show a city: a map of its places, counts and their balance, corners, rejected photos, some pictures."""
    from addressvlm.inspection.citypage import show_city

    print_result(show_city(city, page), as_json)
