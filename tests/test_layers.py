"""Who may know whom: the table of docs/architecture.md, read off the imports."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "addressvlm"
BASE = {"errors", "folders", "work", "cluster", "environment", "fetching"}

# What a package may import of ours, beside itself and the base modules.
ALLOWED = {
    "geo": set(),
    "imagery": {"geo"},
    "pages": {"geo", "imagery"},
    "cities": {"geo", "imagery"},
    "dataset": {"geo", "imagery", "cities"},
    "model": set(),
    "training": {"dataset", "model"},
    "inference": {"geo", "imagery", "pages", "dataset", "model"},
    "evaluation": {"geo", "imagery", "pages", "dataset"},
    "inspection": {"geo", "imagery", "pages", "cities", "dataset", "evaluation"},
    "experiments": {"geo", "imagery", "cities", "dataset", "model", "training", "inference", "evaluation"},
    "cli": {
        "geo",
        "imagery",
        "cities",
        "dataset",
        "model",
        "training",
        "inference",
        "evaluation",
        "inspection",
        "experiments",
    },
}
# Heavy libraries that a package must not know.
STRANGERS = {
    "geo": {"torch", "PIL", "transformers"},
    "imagery": {"torch", "transformers"},
    "pages": {"torch", "transformers"},
    "cities": {"torch", "transformers"},
    "dataset": {"torch", "transformers", "peft"},
    "model": {"geopandas", "shapely", "pyproj", "mapnik"},
    "training": {"geopandas", "shapely", "pyproj", "mapnik"},
    "evaluation": {"torch", "transformers", "peft"},
    "inspection": {"torch", "transformers", "peft"},
}


def imported(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever in the file it stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_package_imports_only_what_lies_upstream(package: str) -> None:
    allowed = ALLOWED[package] | BASE | {package}
    for path in sorted((SOURCE / package).rglob("*.py")):
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("addressvlm.")}
        assert ours <= allowed, f"{path.relative_to(SOURCE)} imports {sorted(ours - allowed)}"


@pytest.mark.parametrize("package", sorted(STRANGERS))
def test_package_does_not_know_strangers(package: str) -> None:
    for path in sorted((SOURCE / package).rglob("*.py")):
        libraries = {name.split(".")[0] for name in imported(path)}
        strangers = libraries & STRANGERS[package]
        assert not strangers, f"{path.relative_to(SOURCE)} imports {sorted(strangers)}"


def test_every_package_is_in_the_table() -> None:
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert packages == set(ALLOWED)


def test_only_the_mini_city_and_the_exports_are_packages_within_a_package() -> None:
    nested = {str(path.parent.relative_to(SOURCE)) for path in SOURCE.glob("*/*/__init__.py")}
    assert nested == {"cities/minicity", "dataset/exports"}
