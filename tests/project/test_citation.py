"""CITATION.cff says what the package is and which version of it."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import llamafactory_emotion

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_it_has_what_the_format_asks_for(citation):
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["type"] == "software"
    assert all(author.get("name") or author.get("family-names") for author in citation["authors"])


def test_name_licence_and_words_are_the_projects(citation, project):
    assert citation["title"].startswith(f"{project['name']}: ")
    assert citation["license"] == project["license"]
    assert citation["keywords"] == project["keywords"]


def test_the_version_is_the_packages(citation):
    """A development version is that of the release it leads to."""
    assert citation["version"] == re.sub(r"\.dev\d+$", "", llamafactory_emotion.__version__)
