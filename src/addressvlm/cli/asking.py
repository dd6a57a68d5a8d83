"""`addressvlm ask`, `locate`, `calibrate`, `evaluate`: what a trained run knows, and how well."""

import json
from pathlib import Path
from typing import Annotated

import typer

from addressvlm.cli.options import AsJson, Dataset, Run, print_result
from addressvlm.errors import UsageError


def ask(
    photo: Annotated[Path, typer.Argument(help="A street photo (JPEG, PNG or WebP).")],
    question: Annotated[str, typer.Argument(help="What to ask of it.")],
    run: Run,
    max_new_tokens: Annotated[int, typer.Option(help="Where an answer is cut, in tokens.")] = 160,
    as_json: AsJson = False,
) -> None:
    """Ask a trained model anything about a photo."""
    from addressvlm.inference.localizer import Localizer

    answer = Localizer.load(run).ask(photo, question, max_new_tokens=max_new_tokens)
    print(json.dumps({"question": question, "answer": answer}, ensure_ascii=False) if as_json else answer)


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


def calibrate(dataset: Dataset, run: Run, as_json: AsJson = False) -> None:
    """Make the probabilities of a run trustworthy, from the validation photos of its data set."""
    from addressvlm.inference.calibrating import calibrate_run
    from addressvlm.inference.localizer import Localizer

    print_result(calibrate_run(Localizer.load(run), dataset), as_json)


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
        from addressvlm.inference.calibrating import warn_of_other_data
        from addressvlm.inference.constrained import constrained_answers
        from addressvlm.inference.localizer import Localizer

        localizer = Localizer.load(run)
        warn_of_other_data(run, dataset)
        target = out or run / f"evaluation-{split}"
        metrics = evaluate_run(
            dataset,
            lambda requests: localizer.answer(requests, engine=engine, batch_size=batch_size),
            target,
            constrained=(
                (lambda requests: constrained_answers(localizer, requests)) if localizer.reads_trees else None
            ),
            split=split,
            name=run.name,
            config={"run": fingerprint(run), "engine": engine, "constrained": localizer.reads_trees},
        )
    print(json.dumps(metrics, indent=2, ensure_ascii=False) if as_json else metrics_text(metrics))
