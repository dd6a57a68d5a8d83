"""`addressvlm bench`: speed, side by side with what others would use."""

import json
from pathlib import Path
from typing import Annotated

import typer

from addressvlm.cli.options import AsJson, Out, Workers, told

app = typer.Typer(help="Speed, side by side with what others would use.", no_args_is_help=True)


@app.command("infer")
def infer(
    context: typer.Context,
    out: Out = Path("runs/bench-infer"),
    base: Annotated[str, typer.Option(help="A run folder, a preset (mini), or random:PRESET.")] = "mini",
    results: Annotated[
        Path | None, typer.Option(help="Also write bench-infer.json and .md into this folder.")
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Questions a second, one by one, in batches and in one pass; exact distributions against samples."""
    from addressvlm.experiments.benchinfer import bench_inference, bench_table, publish_bench

    result = bench_inference(out, base, workers=workers)
    if results is not None:
        publish_bench(result, results, told(context))
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else bench_table(result))


@app.command("geocode")
def geocode(
    context: typer.Context,
    streets: Annotated[Path, typer.Argument(help="Streets: OSM, GeoJSON, GeoPackage or GeoParquet.")],
    districts: Annotated[Path, typer.Argument(help="Districts, in any of these formats.")],
    points: Annotated[int, typer.Option(help="How many random points.")] = 10_000_000,
    results: Annotated[
        Path | None, typer.Option(help="Also write bench-geocode.json and .md into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Points a second from coordinates to addresses, beside geopandas."""
    from addressvlm.experiments.benchgeo import bench_geo_table, bench_geocoding, publish_bench_geo

    result = bench_geocoding(streets, districts, points=points)
    if results is not None:
        publish_bench_geo(result, results, told(context))
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else bench_geo_table(result))


@app.command("pictures")
def pictures(
    context: typer.Context,
    city: Annotated[Path, typer.Argument(help="A city folder with photos.")],
    photos: Annotated[int, typer.Option(help="How many of its photos.")] = 100,
    image_px: Annotated[int, typer.Option(help="Side of the pictures.")] = 336,
    results: Annotated[
        Path | None, typer.Option(help="Also write bench-pictures.json and .md into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Street views and grafted pictures a second, beside the plain way of Pillow."""
    from addressvlm.experiments.benchpictures import (
        bench_pictures,
        bench_pictures_table,
        publish_bench_pictures,
    )

    result = bench_pictures(city, photos=photos, image_px=image_px)
    if results is not None:
        publish_bench_pictures(result, results, told(context))
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else bench_pictures_table(result))


@app.command("label")
def label(
    context: typer.Context,
    out: Out = Path("runs/bench-label"),
    samples: Annotated[int, typer.Option(help="Samples to label.")] = 5000,
    concurrency: Annotated[int, typer.Option(help="Calls in flight.")] = 8,
    workers: Annotated[int, typer.Option(help="Processes that make them.")] = 2,
    kills: Annotated[int, typer.Option(help="How often the second job is killed.")] = 50,
    service_s: Annotated[float, typer.Option(help="Mean seconds of an answer.")] = 0.3,
    timeout_s: Annotated[float, typer.Option(help="Seconds after which the client gives up.")] = 1.5,
    results: Annotated[
        Path | None, typer.Option(help="Also write bench-label.json and .md into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Label jobs against a server that times out, refuses and talks nonsense: left alone, and killed."""
    from addressvlm.experiments.benchlabel import (
        LabelBench,
        bench_label_table,
        bench_labels,
        publish_bench_label,
    )

    bench = LabelBench(samples, concurrency, workers, kills, service_s=service_s, timeout_s=timeout_s)
    result = bench_labels(out, bench)
    if results is not None:
        publish_bench_label(result, results, told(context))
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else bench_label_table(result))


@app.command("train")
def train(
    context: typer.Context,
    full: Annotated[
        bool, typer.Option("--full", help="The paper's sizes, random weights; needs a GPU.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="A step of a tiny batch, to see whether all runs.")
    ] = False,
    batch: Annotated[
        int | None, typer.Option(help="Pictures in a batch. [default: 16]", show_default=False)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads on a CPU. [default: all cores]", show_default=False)
    ] = None,
    lanes: Annotated[
        str | None,
        typer.Option(help="Only lanes whose names begin so, with commas between.", show_default=False),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Also write bench-train.json and .md into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pictures a second in training: TRL, Trainer with PEFT as it comes and tuned, and ours."""
    import dataclasses

    import torch

    from addressvlm.experiments.benchtrain import (
        FULL_SIZE,
        QUICK,
        TrainBenchPlan,
        bench_training,
        bench_training_table,
        publish_bench_training,
    )

    plan = FULL_SIZE if full else QUICK if quick else TrainBenchPlan()
    if batch is not None:
        plan = dataclasses.replace(plan, batch=batch)
    if threads is not None:
        torch.set_num_threads(threads)
    result = bench_training(plan, chosen=lanes.split(",") if lanes else None)
    if results is not None:
        publish_bench_training(result, results, told(context))
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else bench_training_table(result))
