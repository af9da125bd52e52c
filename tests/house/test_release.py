"""The version, the changelog and what is declared of the package agree."""

import re
import tomllib

from sayonce import __version__
from tests.helpers.paths import ROOT

CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEADING = re.compile(r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)


def test_the_newest_release_of_the_changelog_is_the_version_and_has_a_date():
    unreleased, newest, *_ = HEADING.findall(CHANGELOG)
    assert unreleased == ("Unreleased", "")
    assert newest[0] == __version__
    assert newest[1]


def test_releases_in_the_changelog_are_dated_newest_first():
    dates = [date for _, date in HEADING.findall(CHANGELOG)[1:]]
    assert dates == sorted(filter(None, dates), reverse=True)


def test_every_python_that_is_claimed_is_tested_on_github():
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    assert claimed == re.findall(r'"(3\.\d+)"', re.search(r"python: \[(.*)\]", workflow).group(1))
    assert PROJECT["requires-python"] == f">={claimed[0]}"
