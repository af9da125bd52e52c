"""The examples that need neither weights nor servers run as they are, and say what they promise."""

import os
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

EXAMPLES = ROOT / "examples"
SAID = {
    "style_codes.py": [
        "50 requests for one image: 1 run of the encoder",
        "the same image twice and one with a changed pixel: 2 runs",
    ],
    "text_embeddings.py": [
        "computing 2: ['where is my parcel', 'please hold on']",
        "computing 2: ['where is my parcel?', 'où est mon colis']",
    ],
    "motion_features.py": ["copy-of-walk.npy: moves by [0, 2]", "run.npy: moves by [0, 5]"],
    "library_any_function.py": ["{'start': 35655, 'steps': 323}"],
}


def start(name, directory, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", os.fspath(EXAMPLES / name), *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=directory,
        timeout=100,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


def run(name, directory):
    done = start(name, directory)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SAID)
def test_an_example_runs_and_says_what_it_promises(tmp_path, name):
    said = run(name, tmp_path)
    assert all(line in said for line in SAID[name]), said


def test_a_second_run_of_the_library_example_computes_nothing(tmp_path):
    assert "'feature computations: collatz': 1.0" in run("library_any_function.py", tmp_path)
    assert "feature computations" not in run("library_any_function.py", tmp_path)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("stream_to_player.py", ["Hello.", "no-such-player"], "there is no player 'no-such-player' here"),
        (
            "clone_voices.py",
            ["models", "anna.wav", "--text", "Hello."],
            "there is no package 'indextts' here: pip install",
        ),
    ],
)
def test_an_example_that_lacks_its_program_or_package_says_so_in_one_line(tmp_path, name, arguments, told):
    done = start(name, tmp_path, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(told)
    assert len(done.stderr.splitlines()) == 1
