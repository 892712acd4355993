"""What the package imports is declared, and `make install` has a version for what is declared."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Imported only where a recipe or the caller asks for them; extras install them.
OPTIONAL = {"bitsandbytes", "deepspeed", "flash_attn", "ray"}


def test_every_imported_package_is_a_declared_dependency():
    declared = {canonicalize_name(Requirement(one).name) for one in PROJECT["dependencies"]}
    distributions = packages_distributions()
    undeclared = set()
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in {name.partition(".")[0] for name in names}:
                known = name in sys.stdlib_module_names | OPTIONAL | {"llamafactory_emotion"}
                providers = map(canonicalize_name, distributions.get(name, [name]))
                if not known and declared.isdisjoint(providers):
                    undeclared.add(f"{name} ({file.relative_to(ROOT)})")

    assert not undeclared


def test_whatever_is_asked_for_has_an_exact_version_within_its_bounds():
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    versions = {canonicalize_name(name): version for name, version in
                (line.split("==") for line in lines)}  # fmt: skip
    for one in map(Requirement, PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]):
        assert versions[canonicalize_name(one.name)] in one.specifier, one
