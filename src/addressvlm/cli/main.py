"""The command `addressvlm`: every command parses, calls one library function and prints.

Results go to stdout (`--json`: the same value for machines), progress to stderr. Exit codes: 0 ok, 2 usage,
3 bad input, 4 interrupted and resumable, 1 anything else. Imports of the library stay inside the commands,
so that `--help` answers at once. Each group of verbs is a module of its own.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from addressvlm.cli import asking, benching, cities, datasets, exporting, labels, reproducing, training
from addressvlm.cli.options import AsJson, Out, Workers, print_result, told
from addressvlm.errors import AddressVLMError, InterruptedJob, UsageError

app = typer.Typer(
    help="From GPS-tagged street photos of a city to a model that tells the address of a new photo.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# Click's UsageError, which Typer carries along without exporting it.
CLICK_USAGE_ERROR: Any = typer.BadParameter.__base__


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


@app.callback()
def options(
    remote_code: Annotated[
        str | None,
        typer.Option(
            envvar="ADDRESSVLM_REMOTE_CODE",
            help="Let a model folder run its own .py files if this is their digest (the refusal names it).",
        ),
    ] = None,
) -> None:
    """Options of all commands."""
    if remote_code:
        os.environ["ADDRESSVLM_REMOTE_CODE"] = remote_code


@app.command()
def demo(
    context: typer.Context,
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
        publish({**summary, **line}, results, told(context))
    print(json.dumps(summary, indent=2, ensure_ascii=False) if as_json else demo_text(summary, out))


@app.command()
def env(as_json: AsJson = False) -> None:
    """Print versions and devices, for bug reports."""
    from addressvlm.environment import environment

    print_result(environment(), as_json)


app.add_typer(cities.app, name="city")
app.add_typer(datasets.app, name="dataset")
app.command("label")(labels.label)
app.add_typer(training.app, name="train")
app.add_typer(reproducing.app, name="reproduce")
app.add_typer(benching.app, name="bench")
for verb in (asking.ask, asking.locate, asking.calibrate, asking.evaluate, exporting.export):
    app.command()(verb)
