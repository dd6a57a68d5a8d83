"""Options of a command made from the fields of a dataclass, so that a default lives in one place only."""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from addressvlm.errors import UsageError


def field_docs(cls: type) -> dict[str, str]:
    """The string under each field of a dataclass, by field name."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            docs[field.target.id] = " ".join(str(below.value.value).split())
    return docs


def options_of(
    cls: type, *, skip: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each field of the dataclass `cls`, by the field's name.

    The command takes `**fields`; only what the user gave arrives there, as values of the field's type.
    """
    hints, docs = get_type_hints(cls), field_docs(cls)
    fields = [field for field in dataclasses.fields(cls) if field.name not in skip]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def call(**arguments: Any) -> None:
            given = {f.name: arguments.pop(f.name) for f in fields}
            values = {
                name: _parse(name, hints[name], value) for name, value in given.items() if value is not None
            }
            command(**arguments, **values)

        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
        extra = [
            inspect.Parameter(
                f.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[
                    _asked_as(hints[f.name]) | None, typer.Option(help=_help(f, docs), show_default=False)
                ],
            )
            for f in fields
        ]
        call.__name__ = command.__name__
        call.__doc__ = command.__doc__
        call.__signature__ = inspect.Signature([*own, *extra])  # type: ignore[attr-defined]  # read by Typer
        call.__annotations__ = {p.name: p.annotation for p in [*own, *extra]}
        return call

    return decorate


def _asked_as(hint: Any) -> Any:
    """The type that Typer parses; choices and tuples are asked for as text."""
    kinds = _choices(hint)
    return kinds[0] if len(kinds) == 1 and kinds[0] in (int, float, bool) else str


def _choices(hint: Any) -> list[Any]:
    if get_origin(hint) in (Union, type(int | None)):
        return [kind for kind in get_args(hint) if kind is not type(None)]
    return [hint]


def _parse(name: str, hint: Any, value: Any) -> Any:
    (kind,) = _choices(hint)[:1]
    if get_origin(kind) is Literal and value not in get_args(kind):
        raise UsageError(
            f"--{name.replace('_', '-')} is {value!r}; it can be {', '.join(map(str, get_args(kind)))}"
        )
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        try:
            return tuple(item(part.strip()) for part in str(value).split(",") if part.strip())
        except ValueError:
            raise UsageError(
                f"--{name.replace('_', '-')} is {value!r}; give {item.__name__}s with commas"
            ) from None
    return value


def _help(field: "dataclasses.Field[Any]", docs: dict[str, str]) -> str:
    default = field.default
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    shown = "" if default in (None, dataclasses.MISSING, "") else f" [default: {default}]"
    return docs.get(field.name, "") + shown
