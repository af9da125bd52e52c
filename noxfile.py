"""The project's tasks: ``nox -l`` lists them. They run in the environment that nox itself is installed in."""

import sys
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
