from dataclasses import dataclass
from typing import Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from addressvlm.cli.fields import field_docs, options_of
from addressvlm.errors import UsageError


@dataclass(frozen=True)
class Options:
    delta: float = 0.5
    """Longer side of the photo over the side of the map."""
    variant: Literal["graft", "stitch"] = "graft"
    """How photo and map come together."""
    split: tuple[float, ...] = (0.7, 0.3)
    labels: bool = True
    steps: int | None = None


def parsed(*arguments: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    app = typer.Typer()

    @app.command()
    @options_of(Options)
    def build(name: str = "x", **fields: Any) -> None:
        seen.update(fields)

    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return seen


def test_docs_stand_under_their_fields() -> None:
    assert field_docs(Options)["variant"] == "How photo and map come together."


def test_only_what_the_user_gave_arrives() -> None:
    assert parsed("--delta", "0.3") == {"delta": 0.3}
    assert parsed() == {}


def test_values_have_the_type_of_the_field() -> None:
    given = parsed("--split", "0.5, 0.5", "--no-labels", "--steps", "7", "--variant", "stitch")
    assert given == {"split": (0.5, 0.5), "labels": False, "steps": 7, "variant": "stitch"}


def test_a_choice_that_is_none_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match="graft, stitch"):
        parsed("--variant", "glue")
