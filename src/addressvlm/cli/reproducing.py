"""`addressvlm reproduce`: measurements of the paper, and the ones it lacks."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from addressvlm.cli.options import AsJson, Out, Workers, told

app = typer.Typer(help="Measurements of the paper, and the ones it lacks.", no_args_is_help=True)


@app.command("controls")
def controls(
    context: typer.Context,
    out: Out = Path("runs/controls"),
    cities: Annotated[
        str | None,
        typer.Option(help="Cities, with commas between. [default: mini-pitts,mini-sf]", show_default=False),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds an arm. [default: 3]", show_default=False)] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Also write controls.json, .md and .png into this folder; "
            "cities that are in them already, measured alike, stay."
        ),
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Measure what the alignment stage is worth: arms from one base, several seeds, paired intervals."""
    from addressvlm.experiments.controls import ControlsPlan, run_controls
    from addressvlm.experiments.controlstables import controls_table, publish_controls

    plan = ControlsPlan()
    if cities is not None:
        plan = dataclasses.replace(plan, cities=tuple(cities.split(",")))
    if seeds is not None:
        plan = dataclasses.replace(plan, seeds=seeds)
    result = run_controls(out, workers=workers, plan=plan)
    if results is not None:
        publish_controls(result, results, told(context))
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else controls_table(result))


@app.command("beliefs")
def beliefs(
    context: typer.Context,
    out: Out = Path("runs/beliefs"),
    cities: Annotated[
        str | None,
        typer.Option(
            help="Cities, with commas between. [default: mini-pitts,mini-sf,mini-tokyo]", show_default=False
        ),
    ] = None,
    real_photos: Annotated[
        Path | None,
        typer.Option(help="A folder of real photos, to see whether they are refused.", show_default=False),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Also write beliefs.json, .md and .png into this folder.")
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Measure beliefs: closed answers, several photos of a place, rough positions, calibration, strangers."""
    from addressvlm.experiments.beliefs import BeliefsPlan, run_beliefs
    from addressvlm.experiments.beliefstables import beliefs_table, publish_beliefs

    plan = BeliefsPlan()
    if cities is not None:
        plan = dataclasses.replace(plan, cities=tuple(cities.split(",")))
    photos = sorted(real_photos.rglob("*.jp*g")) if real_photos is not None else []
    result = run_beliefs(out, real_photos=photos, workers=workers, plan=plan)
    if results is not None:
        publish_beliefs(result, results, told(context))
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else beliefs_table(result))


@app.command("cities")
def cities(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="The folder of real files, as docs/real-cities.md lays it out.")],
    out: Out = Path("runs/cities"),
    only: Annotated[
        str | None, typer.Option(help="Cities, with commas between. [default: all]", show_default=False)
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Also write cities.json and .md into this folder.")
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Build cities from real files of every map and imagery format; counts, distances, rejects, seconds."""
    from addressvlm.experiments.realcities import publish_real_cities, real_cities_table, run_real_cities

    names = only.split(",") if only is not None else None
    result = run_real_cities(data, out, names=names, workers=workers)
    if results is not None:
        publish_real_cities(result, results, told(context))
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else real_cities_table(result))
