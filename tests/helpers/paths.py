"""Where the project's files are, for tests that read them."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
