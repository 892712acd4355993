"""CITATION.cff says what the package is and which version of it."""

import re
import tomllib
from pathlib import Path

import yaml

import llamafactory_emotion

ROOT = Path(__file__).parents[2]


def test_the_citation_is_of_the_format_and_of_this_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert all(author.get("name") or author.get("family-names") for author in citation["authors"])
    assert citation["title"].startswith(f"{project['name']}: ")
    assert (citation["license"], citation["keywords"]) == (project["license"], project["keywords"])
    # A development version is that of the release it leads to.
    assert citation["version"] == re.sub(r"\.dev\d+$", "", llamafactory_emotion.__version__)
