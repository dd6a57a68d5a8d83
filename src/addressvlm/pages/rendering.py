"""Templates of pages: every package has its own, all build on `page.html.j2` and `page.css` here."""

import glob
from pathlib import Path
from typing import Any

import jinja2

from addressvlm.folders import write_atomically


def page_environment(package: str) -> jinja2.Environment:
    """The templates of a package, with those here behind them; whatever is filled in is escaped."""
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("addressvlm.pages")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )


def write_page(path: Path, environment: jinja2.Environment, template: str, **values: Any) -> None:
    """Fill in a template and write the page, atomically."""
    html = environment.get_template(template).render(**values)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # of a killed write
        leftover.unlink(missing_ok=True)
    with write_atomically(path) as temporary:
        temporary.write_text(html, "utf-8")
