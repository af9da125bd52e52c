"""The project's tasks: ``nox -l`` lists them. They run in the environment that nox itself is installed in."""

import os
import re
import shutil
import sys
import tomllib
from itertools import chain
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "layers", "tests"]

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ALL = ("voice", "espeak", "objects", "tracing")
"""What ``sayonce[all]`` is."""
EVERYWHERE = (
    "tests/unit/core",
    "tests/unit/cache/test_cache.py",
    "tests/unit/config",
    "tests/unit/features",
    "tests/unit/speech/test_bounds.py",
    "tests/unit/speech/test_voices.py",
    "tests/unit/warm",
    "tests/unit/audio/test_door.py",
    "tests/unit/audio/test_encode.py",
    "tests/unit/stores/test_contract.py",
    "tests/unit/engines/test_hibari.py",
    "tests/unit/gateway/test_gateway.py",
    "tests/unit/gateway/test_openapi.py",
    "tests/unit/gateway/test_protocol.py",
    "tests/unit/cli/test_serve.py",
    "tests/unit/cli/test_refusals.py",
)
"""What depends most on other versions of Python and of libraries; GitHub runs all tests on every Python."""
WITHOUT_EXTRAS = (
    "tests/unit/core",
    "tests/unit/cache/test_cache.py",
    "tests/unit/features/test_remember.py",
    "tests/unit/features/test_tensors.py",
    "tests/unit/features/test_library.py",
    "tests/unit/stores/test_sqlite.py",
    "tests/unit/gateway/test_protocol.py",
)
OF_EXTRAS = {
    "voice": ("tests/unit/engines/test_hibari.py", "tests/unit/cli/test_say.py", "tests/unit/cli/test_refusals.py"),
    "espeak": ("tests/unit/engines/test_espeak.py",),
    "objects": ("tests/unit/stores/test_blobs.py", "tests/unit/stores/test_contract.py"),
    "tracing": ("tests/unit/observe/test_tracing.py",),
    "speaker": ("tests/unit/features/test_speaker_encoder.py",),
}


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after ``--`` go to pytest."""
    session.run(sys.executable, "-m", "pytest", *session.posargs, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.run(sys.executable, "-m", "ruff", "check", ".", external=True)
    session.run(sys.executable, "-m", "ruff", "format", "--check", ".", external=True)


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.run(sys.executable, "-m", "mypy", external=True)


@nox.session
def layers(session: nox.Session) -> None:
    """Check that layers import downward only."""
    session.run(str(Path(sys.executable).with_name("lint-imports")), external=True)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the unit tests with the lowest version of each dependency that is allowed; they may warn of what is newer."""
    allowed = chain(PROJECT["dependencies"], *(EXTRAS[extra] for extra in ALL))
    lines = [re.sub(r"\[.*?\]", "", each).replace(">=", "==") + "\n" for each in allowed]
    constraints = Path("build", "lowest.txt")
    constraints.parent.mkdir(exist_ok=True)
    constraints.write_text("".join(lines), encoding="utf-8")
    python = environment(session, "lowest", "-c", str(constraints), "-e", f".[{','.join((*ALL, 'test'))}]")
    older = ("-W", "ignore::DeprecationWarning", "-W", "ignore::PendingDeprecationWarning")
    session.run(python, "-m", "pytest", "-q", "-n", "auto", *older, *(session.posargs or EVERYWHERE), external=True)


@nox.session
def newest(session: nox.Session) -> None:
    """Run the unit tests with the newest Python that is claimed, where it is found."""
    version = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))[-1]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [shutil.which(f"python{version}"), *map(str, versions.glob(f"{version}*/bin/python3"))]
    interpreter = next((each for each in found[1:] + found[:1] if each), None)
    if interpreter is None:
        session.skip(f"there is no Python {version} here")
    python = environment(session, f"python-{version}", "-e", f".[{','.join((*ALL, 'test'))}]", interpreter=interpreter)
    session.run(python, "-m", "pytest", "-q", "-n", "auto", *(session.posargs or EVERYWHERE), external=True)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, and run tests against it: without any extra, and then with each one alone."""
    session.run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "build/dist", ".", external=True)
    built = max(Path("build/dist").glob("sayonce-*.whl"), key=lambda path: path.stat().st_mtime)
    python = environment(session, "wheel", "--force-reinstall", "--no-deps", str(built))
    session.run(python, "-m", "pip", "install", "-q", *PROJECT["dependencies"], *EXTRAS["test"], external=True)
    session.run(python, "-c", "import sayonce; assert 'site-packages' in sayonce.__file__", external=True)
    session.run(python, "-m", "pytest", "-q", "-n", "auto", *WITHOUT_EXTRAS, external=True)
    for extra, tests in OF_EXTRAS.items():
        place = str(Path("build", f"extra-{extra}").resolve())
        session.run(python, "-m", "pip", "install", "-q", "--upgrade", "--target", place, *EXTRAS[extra], external=True)
        session.run(python, "-m", "pytest", "-q", *tests, external=True, env={"PYTHONPATH": place})


def environment(session: nox.Session, name: str, *requirements: str, interpreter: str = sys.executable) -> str:
    """Make an environment below ``build``, and return its Python."""
    place = Path("build", name)
    session.run(interpreter, "-m", "venv", str(place), external=True)
    python = str(place / "bin/python")
    session.run(python, "-m", "pip", "install", "-q", *requirements, external=True)
    return python


@nox.session
def ray(session: nox.Session) -> None:
    """Call a remembered function in a Ray actor; Ray is large, and nothing else needs it."""
    session.run(sys.executable, "-m", "pip", "install", "-q", "ray", external=True)
    settings = {"SAYONCE_RAY": "1", "RAY_USAGE_STATS_ENABLED": "0", "CI": "true"}
    session.run(
        sys.executable, "-m", "pytest", "-q", "tests/unit/features/test_travel_ray.py", external=True, env=settings
    )


@nox.session
def mutation(session: nox.Session) -> None:
    """Change the sources in a copy, a place at a time, and see that a test notices; ``-- --help`` says more."""
    session.run(sys.executable, "-m", "pip", "install", "-q", "mutmut==3.8.1", external=True)
    session.run(sys.executable, "-m", "tests.mutation", "--workers", "2", *session.posargs, external=True)
