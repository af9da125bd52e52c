"""What the documents say is there is there."""

import ast
import re
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

PROMISES = re.findall(r"`([\w/]+\.py)::(test_\w+)`", (ROOT / "docs/guarantees.md").read_text())


@pytest.mark.parametrize(("file", "name"), PROMISES)
def test_every_guarantee_has_its_test(file, name):
    tree = ast.parse((ROOT / "tests" / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_guarantees_are_listed():
    assert len(PROMISES) > 25


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", *Path(ROOT / "docs").glob("*.md")])
def test_links_within_the_project_lead_somewhere(page):
    page = ROOT / page
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("openai", "openai.txt"),
        ("litellm", "litellm.txt"),
        ("pipecat-ai", "pipecat.txt"),
        ("livekit-agents", "livekit.txt"),
        ("livekit-plugins-openai", "livekit.txt"),
        ("wyoming-openai", "wyoming.txt"),
        ("openai", "npm/package.json"),
        ("ai", "npm/package.json"),
        ("@ai-sdk/openai", "npm/package.json"),
    ],
)
def test_clients_are_listed_with_the_versions_that_are_run(name, place):
    pinned = (ROOT / "tests/world" / place).read_text().replace("_", "-")
    version = re.search(rf'^\W*{re.escape(name)}(?:==|": ")([\d.]+)', pinned, re.MULTILINE).group(1)
    rows = [row.split("|") for row in (ROOT / "docs/clients.md").read_text().splitlines() if f"`{name}`" in row]
    assert version in {each.strip() for row in rows for each in row[2].split(",")}
