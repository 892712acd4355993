"""The versions that `make install` keeps to: exact ones, for whatever pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LINES = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]


def test_each_line_is_a_name_and_a_version_that_every_index_has():
    assert [line for line in LINES if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_whatever_is_asked_for_has_a_version_within_its_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pairs = (line.split("==") for line in LINES)
    versions = {canonicalize_name(name): version for name, version in pairs}
    asked = map(Requirement, project["dependencies"] + project["optional-dependencies"]["dev"])

    for one in asked:
        assert versions[canonicalize_name(one.name)] in one.specifier, one
