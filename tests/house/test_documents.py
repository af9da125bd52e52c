"""What the documents say is there is there."""

import ast
import os
import re
import subprocess
import sys

import pytest

from tests.helpers.documents import programs
from tests.helpers.paths import ROOT

PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")} - {ROOT / "CHANGELOG.md"})
"""The documents, but for the changelog, which tells of former files."""
FOLDERS = ("src", "tests", "docs", "bench", "deploy", "examples", ".ci", ".github")
HOMES = (ROOT, ROOT / "src/sayonce", ROOT / "src/sayonce/speech", ROOT / "tests")
"""Where a path in a document may begin: `cache/road`, `engines/fields` and `unit/core` are short forms."""
PATH = re.compile(r"(?<![\w./:@~$<>{}=-])(?:\.?[\w-]+/)+[\w.*-]*")
NO_PATHS = ("tests/unit/PACKAGE", "audio/L16", "audio/basic", "text/event-stream")
"""A placeholder, and media types."""
PROMISES = re.findall(r"`([\w/]+\.py)::(test_\w+)`", (ROOT / "docs/guarantees.md").read_text())


@pytest.mark.parametrize(("file", "name"), PROMISES)
def test_every_guarantee_has_its_test(file, name):
    tree = ast.parse((ROOT / "tests" / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_guarantees_are_listed():
    assert len(PROMISES) > 25


def _paths_in(text: str) -> list[str]:
    """Return the words of a text that name a file or folder of the project by its path."""
    first = {*FOLDERS, *(each.name for home in HOMES[1:] for each in home.iterdir() if each.is_dir())}
    found = (path.rstrip(".") for path in PATH.findall(text))
    return [path for path in found if path.partition("/")[0] in first and path not in NO_PATHS]


def _leads_somewhere(path: str) -> bool:
    """Whether it names a file, a module without its ending, or a name in one, as `stores/tables.BOUNDS` does."""
    module, _, name = path.rpartition(".")
    for home in HOMES:
        if any(home.glob(path)) or (home / f"{path}.py").exists():
            return True
        file = home / f"{module}.py"
        if module and file.exists() and re.search(rf"^{name}\b", file.read_text(), re.MULTILINE):
            return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_document_names_is_a_file_of_the_project(page):
    assert [path for path in _paths_in(page.read_text()) if not _leads_somewhere(path)] == []


@pytest.mark.parametrize("folder", ["src", "tests", "bench", "examples"])
def test_every_file_that_a_comment_or_docstring_names_by_its_path_exists(folder):
    wrong = {
        f"{file.relative_to(ROOT)}: {path}"
        for file in (ROOT / folder).rglob("*.py")
        for path in _paths_in(file.read_text())
        if path.endswith((".py", ".md", ".sql", ".lua")) and not _leads_somewhere(path)
    }
    assert wrong == set()


def test_every_file_that_a_document_names_without_a_folder_exists():
    files = [*ROOT.glob("*.*"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.*"))]
    named = {name for page in PAGES for name in re.findall(r"`([\w-]+\.(?:py|sql|lua|md))`", page.read_text())}
    elsewhere = {"ming_tts.py", "moss_tts.py"}  # of vLLM-Omni
    assert named - {file.name for file in files} == elsewhere


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page):
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


PAGES_WITH_PROGRAMS = ["README.md", "README.zh-CN.md", "docs/library.md"]


@pytest.mark.parametrize(
    ("page", "number"), [(page, n) for page in PAGES_WITH_PROGRAMS for n in range(len(programs(page)))]
)
def test_a_program_of_the_documents_runs_as_it_is_written(tmp_path, page, number):
    home = {name: os.fspath(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", programs(page)[number]],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
        env={**os.environ, **home, "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr


def test_every_page_that_shows_the_library_has_a_program_that_is_run():
    assert [len(programs(page)) for page in PAGES_WITH_PROGRAMS] == [1, 1, 2]
