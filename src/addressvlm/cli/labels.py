"""`addressvlm label`: labels of the alignment stage by any vision-language model."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from addressvlm.cli.fields import options_of
from addressvlm.cli.options import AsJson, Dataset, Out, print_result
from addressvlm.dataset.labeloptions import LabelOptions, Limits
from addressvlm.errors import UsageError

_LIMITS = tuple(Limits.__dataclass_fields__)


@options_of(Limits)
@options_of(LabelOptions)
def label(
    dataset: Dataset,
    out: Out,
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="An OpenAI-compatible endpoint, as http://localhost:8000/v1; pictures and addresses are "
            "sent there.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model's name at the endpoint.", show_default=False)
    ] = None,
    key_variable: Annotated[
        str | None,
        typer.Option(
            help="The environment variable that holds the key; none is sent without.", show_default=False
        ),
    ] = None,
    extra: Annotated[
        str | None,
        typer.Option(help="JSON that goes into every request as it is.", show_default=False),
    ] = None,
    local: Annotated[
        Path | None,
        typer.Option(
            help="Instead of an endpoint: a Hugging Face model folder, or a run, loaded in this process.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="With --local: samples described at a time.")] = 8,
    workers: Annotated[
        int,
        typer.Option(help="Processes that share the calls in flight; one is enough for most servers."),
    ] = 1,
    as_json: AsJson = False,
    **fields: Any,
) -> None:
    """Write the labels of the alignment stage with a vision-language model, into a new data set folder."""
    from addressvlm.dataset.labeljob import label_dataset

    limits = Limits(**{name: value for name, value in fields.items() if name in _LIMITS})
    options = LabelOptions(**{name: value for name, value in fields.items() if name not in _LIMITS})
    if (endpoint is None) == (local is None):
        raise UsageError("give --endpoint URL and --model NAME, or --local FOLDER")
    if local is not None:
        from addressvlm.inference.describer import LocalModel

        describer = LocalModel(local, batch_size)
        # One thread, because there is one model; nothing is in flight beside its batches.
        result = label_dataset(
            dataset,
            out,
            describer.open,
            local.resolve().name,
            options=options,
            limits=dataclasses.replace(limits, concurrency=1),
            at_once=describer.window,
            settings={"weights": describer.mark()},
        )
    else:
        from addressvlm.inference.endpoint import Endpoint

        if model is None:
            raise UsageError("--endpoint needs --model NAME: which of its models to ask")
        settings = _object(extra)
        asked = Endpoint(endpoint or "", model, key_variable, limits.timeout_s, settings)
        result = label_dataset(
            dataset,
            out,
            asked.open,
            model,
            options=options,
            limits=limits,
            workers=workers,
            settings={"extra": settings},
        )
    print_result(result, as_json)


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UsageError(f"--extra is {text!r}; it must be a JSON object, as '{{\"top_p\": 0.9}}'")
    return value
