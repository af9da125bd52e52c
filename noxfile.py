"""The project's tasks: ``nox -l`` lists them. They run in the environment that nox itself is installed in."""

import sys
import tomllib
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "layers", "tests"]


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
    """Test what is built on uvicorn's own classes with the lowest uvicorn that is allowed."""
    dependencies = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    version = next(each.partition(">=")[2] for each in dependencies if each.startswith("uvicorn"))
    place = str(Path("build", f"uvicorn-{version}").resolve())
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", place)
    session.run(*pip, f"uvicorn=={version}.0", external=True)
    tests = ("tests/unit/gateway/test_protocol.py", "tests/unit/cli/test_serve.py")
    session.run(sys.executable, "-m", "pytest", "-q", *tests, external=True, env={"PYTHONPATH": place})


@nox.session
def ray(session: nox.Session) -> None:
    """Call a remembered function in a Ray actor; Ray is large, and nothing else needs it."""
    session.run(sys.executable, "-m", "pip", "install", "-q", "ray", external=True)
    settings = {"SAYONCE_RAY": "1", "RAY_USAGE_STATS_ENABLED": "0", "CI": "true"}
    session.run(
        sys.executable, "-m", "pytest", "-q", "tests/unit/features/test_travel_ray.py", external=True, env=settings
    )
