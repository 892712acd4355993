"""What the package imports is what it declares."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
# Imported only where a recipe or the caller asks for them; extras install them.
OPTIONAL = {"bitsandbytes", "deepspeed", "flash_attn", "ray"}


def imported_packages() -> Iterator[tuple[str, Path]]:
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                yield name.partition(".")[0], file


def test_every_imported_package_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {canonicalize_name(Requirement(one).name) for one in project["dependencies"]}
    distributions = packages_distributions()

    undeclared = {
        f"{name} ({file.relative_to(ROOT)})"
        for name, file in imported_packages()
        if name not in sys.stdlib_module_names | OPTIONAL | {"llamafactory_emotion"}
        and declared.isdisjoint(map(canonicalize_name, distributions.get(name, [name])))
    }

    assert not undeclared
