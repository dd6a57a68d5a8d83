"""The command `addressvlm`: every command parses, calls one library function and prints.

Results go to stdout (`--json`: the same value for machines), progress to stderr. Exit codes: 0 ok, 2 usage,
3 bad input, 4 interrupted and resumable, 1 anything else. Imports of the library stay inside the commands,
so that `--help` answers at once.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from addressvlm.cli.fields import options_of
from addressvlm.dataset.options import DatasetOptions, SceneOptions
from addressvlm.errors import AddressVLMError, InterruptedJob, UsageError
from addressvlm.training.stages import EVERYTHING, READING, SEEING, SPEAKING, Stage

app = typer.Typer(
    help="From GPS-tagged street photos of a city to a model that tells the address of a new photo.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
city_app = typer.Typer(help="Photos, streets, districts and imagery of a city.", no_args_is_help=True)
dataset_app = typer.Typer(help="Questions, labels and pictures to train and test on.", no_args_is_help=True)
train_app = typer.Typer(
    help="The two stages of the paper, and the base of the mini models.", no_args_is_help=True
)
reproduce_app = typer.Typer(help="Measurements of the paper, and the ones it lacks.", no_args_is_help=True)
bench_app = typer.Typer(help="Speed, side by side with what others would use.", no_args_is_help=True)
app.add_typer(city_app, name="city")
app.add_typer(dataset_app, name="dataset")
app.add_typer(train_app, name="train")
app.add_typer(reproduce_app, name="reproduce")
app.add_typer(bench_app, name="bench")

# Click's UsageError, which Typer carries along without exporting it.
CLICK_USAGE_ERROR: Any = typer.BadParameter.__base__

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Out = Annotated[Path, typer.Option(help="The folder to write; the same command continues it.")]
Workers = Annotated[
    int | None, typer.Option(help="Processes to use. [default: all cores]", show_default=False)
]
Run = Annotated[Path, typer.Option(help="A run folder made by `train`.")]


def run() -> None:
    """Entry point of the console script: runs the app and turns errors into messages and exit codes."""
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(exit_code(sys.argv[1:]))


def exit_code(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        app(arguments, prog_name="addressvlm", standalone_mode=False)
    except AddressVLMError as error:
        return _fail(str(error), error.exit_code)
    except CLICK_USAGE_ERROR as error:
        return _fail(error.format_message(), UsageError.exit_code)  # of a bare command group: its help
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; the same command continues where it stopped", InterruptedJob.exit_code)
    except BrokenPipeError:
        return 1
    return 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _fail(message: str, code: int) -> int:
    print(f"addressvlm: {message}", file=sys.stderr)
    return code


def _print(value: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    for key, item in value.items():
        if not key.startswith("sha256"):
            print(f"{key}: {json.dumps(item, ensure_ascii=False) if isinstance(item, dict | list) else item}")


@app.command()
def demo(
    out: Out = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Seed of the split, the questions and the training.")] = 0,
    workers: Workers = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Also write the summary here, with date, commit and machine, and the line of a small CNN."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Walk the whole road on a mini city: photos, maps, two stages, answers, report."""
    from addressvlm.cli.tables import demo_text
    from addressvlm.experiments.demo import run_demo
    from addressvlm.experiments.results import publish

    summary = run_demo(out, seed=seed, workers=workers)
    if results is not None:
        from addressvlm.experiments.classifier import classify

        line = {"classifier": classify(out / "dataset")["metrics"]}
        publish({**summary, **line}, results, f"addressvlm demo --seed {seed} --results {results}")
    print(json.dumps(summary, indent=2, ensure_ascii=False) if as_json else demo_text(summary, out))


@city_app.command("build")
def city_build(
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
    _print(
        build_city(source, out, radius_m=radius_m, photo_px=photo_px, workers=workers, **overrides), as_json
    )


@dataset_app.command("build")
@options_of(DatasetOptions)
def dataset_build(
    city: Annotated[Path, typer.Argument(help="A city folder made by `city build`.")],
    out: Out,
    workers: Workers = None,
    as_json: AsJson = False,
    **fields: Any,
) -> None:
    """Make alignment samples (stage 1), training conversations (stage 2) and test questions."""
    from addressvlm.dataset.build import build_dataset

    _print(build_dataset(city, out, DatasetOptions(**fields), workers=workers), as_json)


def _train(stage: Stage, dataset: Path, base: str, out: Path, as_json: bool, fields: dict[str, Any]) -> None:
    import dataclasses

    from addressvlm.training.bases import suited
    from addressvlm.training.train import train

    _print(train(dataclasses.replace(suited(stage, base), **fields), dataset, base, out), as_json)


Dataset = Annotated[Path, typer.Argument(help="A data set folder made by `dataset build`.")]
Base = Annotated[
    str,
    typer.Option(
        help="A preset (mini), random:PRESET, a model folder or an earlier run. Small models have other "
        "defaults than the paper's."
    ),
]


@train_app.command("pretrain")
def train_pretrain(
    out: Out,
    preset: Annotated[str, typer.Option(help="The base to make: mini or mini-siglip.")] = "mini",
    cities: Annotated[int, typer.Option(help="Mini cities to learn from.")] = SceneOptions.cities,
    reading_epochs: Annotated[
        float, typer.Option(help="Times the vision tower reads every page.")
    ] = READING.num_train_epochs,
    seeing_epochs: Annotated[
        float, typer.Option(help="Times the vision tower sees every scene.")
    ] = SEEING.num_train_epochs,
    speaking_epochs: Annotated[
        float, typer.Option(help="Times the language model is asked about it.")
    ] = SPEAKING.num_train_epochs,
    everything_epochs: Annotated[
        float, typer.Option(help="Times the whole model is.")
    ] = EVERYTHING.num_train_epochs,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and questions.")] = 0,
    ship: Annotated[
        Path | None,
        typer.Option(help="Also write the weights in bfloat16 with a model card into this folder."),
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Make the base of a mini preset: render cities, train its tower, train it whole, examine it."""
    import dataclasses

    from addressvlm.experiments.pretraining import PretrainingPlan, run_pretraining

    plan = PretrainingPlan(
        preset=preset,
        scenes=SceneOptions(cities=cities),
        reading=dataclasses.replace(READING, num_train_epochs=reading_epochs),
        seeing=dataclasses.replace(SEEING, num_train_epochs=seeing_epochs),
        speaking=dataclasses.replace(SPEAKING, num_train_epochs=speaking_epochs),
        everything=dataclasses.replace(EVERYTHING, num_train_epochs=everything_epochs),
    )
    summary = run_pretraining(out, seed=seed, workers=workers, plan=plan)
    if ship is not None:
        from addressvlm.experiments.shipping import ship as ship_base

        ship_base(out, ship, f"addressvlm train pretrain --preset {preset} --seed {seed}")
    _print(summary, as_json)


@train_app.command("align")
@options_of(Stage, skip=("name",))
def train_align(
    dataset: Dataset, out: Out, base: Base = "mini", as_json: AsJson = False, **fields: Any
) -> None:
    """Stage 1: cross-view alignment tuning on grafted pictures."""
    from addressvlm.training.stages import ALIGNMENT

    _train(ALIGNMENT, dataset, base, out, as_json, fields)


@train_app.command("localize")
@options_of(Stage, skip=("name",))
def train_localize(
    dataset: Dataset, out: Out, base: Base = "mini", as_json: AsJson = False, **fields: Any
) -> None:
    """Stage 2: address localization tuning on street views."""
    from addressvlm.training.stages import LOCALIZATION

    _train(LOCALIZATION, dataset, base, out, as_json, fields)


@reproduce_app.command("controls")
def reproduce_controls(
    out: Out = Path("runs/controls"),
    cities: Annotated[
        str | None,
        typer.Option(help="Cities, with commas between. [default: mini-pitts,mini-sf]", show_default=False),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds an arm. [default: 3]", show_default=False)] = None,
    results: Annotated[
        Path | None, typer.Option(help="Also write controls.json, .md and .png into this folder.")
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Measure what the alignment stage is worth: nine arms from one base, several seeds, paired intervals."""
    import dataclasses

    from addressvlm.experiments.controls import ControlsPlan, controls_table, publish_controls, run_controls

    plan = ControlsPlan()
    if cities is not None:
        plan = dataclasses.replace(plan, cities=tuple(cities.split(",")))
    if seeds is not None:
        plan = dataclasses.replace(plan, seeds=seeds)
    result = run_controls(out, workers=workers, plan=plan)
    if results is not None:
        publish_controls(result, results, f"addressvlm reproduce controls --results {results}")
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else controls_table(result))


@reproduce_app.command("beliefs")
def reproduce_beliefs(
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
    import dataclasses

    from addressvlm.experiments.beliefs import BeliefsPlan, run_beliefs
    from addressvlm.experiments.beliefstables import beliefs_table, publish_beliefs

    plan = BeliefsPlan()
    if cities is not None:
        plan = dataclasses.replace(plan, cities=tuple(cities.split(",")))
    photos = sorted(real_photos.rglob("*.jp*g")) if real_photos is not None else []
    result = run_beliefs(out, real_photos=photos, workers=workers, plan=plan)
    if results is not None:
        publish_beliefs(result, results, f"addressvlm reproduce beliefs --results {results}")
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else beliefs_table(result))


@bench_app.command("infer")
def bench_infer(
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
        publish_bench(result, results, f"addressvlm bench infer --base {base} --results {results}")
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else bench_table(result))


@bench_app.command("geocode")
def bench_geocode(
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
        command = f"addressvlm bench geocode {streets.name} {districts.name} --points {points}"
        publish_bench_geo(result, results, f"{command} --results {results}")
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else bench_geo_table(result))


@app.command()
def ask(
    photo: Annotated[Path, typer.Argument(help="A street photo (JPEG, PNG or WebP).")],
    question: Annotated[str, typer.Argument(help="What to ask of it.")],
    run: Run,
    as_json: AsJson = False,
) -> None:
    """Ask a trained model anything about a photo."""
    from addressvlm.inference.localizer import Localizer

    answer = Localizer.load(run).ask(photo, question)
    print(json.dumps({"question": question, "answer": answer}, ensure_ascii=False) if as_json else answer)


@app.command()
def locate(
    photos: Annotated[list[Path], typer.Argument(help="Street photos of one place (JPEG, PNG or WebP).")],
    run: Run,
    near: Annotated[
        str | None, typer.Option(help="A rough position, LAT,LON in degrees.", show_default=False)
    ] = None,
    within: Annotated[
        float, typer.Option(help="Metres around --near that hold the true position in 95 of 100 cases.")
    ] = 100.0,
    min_confidence: Annotated[
        float, typer.Option(help="Below this, the district alone is told, or `unknown`.")
    ] = 0.0,
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Also a set of streets that holds the true one this often, as 0.9; for a calibrated run.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="Streets and districts to list.")] = 5,
    samples: Annotated[
        int, typer.Option(help="Also this many sampled answers, street by street (the paper's Fig. 5).")
    ] = 0,
    temperature: Annotated[float, typer.Option(help="Temperature of the samples.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the belief as GeoJSON, picture and page.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell where photos of one place were taken: probabilities of all streets, on a map, with doubt."""
    from addressvlm.cli.tables import located_text
    from addressvlm.geo.places import parse_latlon
    from addressvlm.inference.localizer import Localizer
    from addressvlm.inference.locating import locate as locate_photos

    located = locate_photos(
        Localizer.load(run),
        photos,
        near=None if near is None else parse_latlon(near),
        within_m=within,
        min_confidence=min_confidence,
        coverage=coverage,
        top=top,
        samples=samples,
        temperature=temperature,
        seed=seed,
        out=out,
    )
    print(json.dumps(located, indent=2, ensure_ascii=False) if as_json else located_text(located))


@app.command()
def calibrate(dataset: Dataset, run: Run, as_json: AsJson = False) -> None:
    """Make the probabilities of a run trustworthy, from the validation photos of its data set."""
    from addressvlm.inference.calibrating import calibrate_run
    from addressvlm.inference.localizer import Localizer

    _print(calibrate_run(Localizer.load(run), dataset), as_json)


@app.command()
def evaluate(
    dataset: Annotated[
        Path | None, typer.Argument(help="A data set folder; its test questions are asked.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="The run to ask.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score this predictions.jsonl instead; no model is needed.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for predictions, metrics and report. [default: RUN/evaluation-SPLIT]"),
    ] = None,
    split: Annotated[str, typer.Option(help="test or val.")] = "test",
    engine: Annotated[
        str,
        typer.Option(
            help="tree: all questions of a photo in one pass; generate: the plain one of Transformers."
        ),
    ] = "tree",
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Questions answered at a time. [default: what suits the device]", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask every test question and score the answers, or score answers that are there already."""
    from addressvlm.cli.tables import metrics_text

    if predictions is not None:
        if dataset is not None or run is not None:
            raise UsageError("--predictions FILE is scored alone; leave out the data set and --run")
        from addressvlm.evaluation.evaluate import score_file

        metrics = score_file(predictions)
    else:
        if dataset is None or run is None:
            raise UsageError("give a data set and --run RUN, or --predictions FILE")
        from addressvlm.evaluation.evaluate import evaluate as evaluate_run
        from addressvlm.folders import fingerprint
        from addressvlm.inference.constrained import constrained_answers
        from addressvlm.inference.localizer import Localizer

        localizer = Localizer.load(run)
        target = out or run / f"evaluation-{split}"
        metrics = evaluate_run(
            dataset,
            lambda requests: localizer.answer(requests, engine=engine, batch_size=batch_size),
            target,
            constrained=lambda requests: constrained_answers(localizer, requests),
            split=split,
            name=run.name,
            config={"run": fingerprint(run), "engine": engine, "constrained": True},
        )
    print(json.dumps(metrics, indent=2, ensure_ascii=False) if as_json else metrics_text(metrics))


@app.command()
def env(as_json: AsJson = False) -> None:
    """Print versions and devices, for bug reports."""
    from addressvlm.environment import environment

    _print(environment(), as_json)
