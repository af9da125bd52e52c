"""A release of another layout: this one's source with the versions of its stores raised or lowered, in processes of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.helpers.paths import ROOT

VERSIONS = {
    "stores/redis/names.py": r"LAYOUT: Final = (\d+)",
    "stores/sqlite/connection.py": r"SCHEMA_VERSION: Final = (\d+)",
    "stores/sqlite/schema.sql": r"PRAGMA user_version = (\d+)",
}
"""Where the layouts of the stores stand."""


class OtherRelease:
    """Runs programs with a release whose layouts are ``step`` above this one's."""

    def __init__(self, folder: Path, step: int) -> None:
        self._home = folder / f"release {step:+}"
        package = self._home / "sayonce"
        shutil.copytree(ROOT / "src/sayonce", package, ignore=shutil.ignore_patterns("__pycache__"))
        for name, version in VERSIONS.items():
            file = package / name
            text, found = re.subn(version, lambda match: raised(match, step), file.read_text())
            assert found == 1, name
            file.write_text(text)

    def run(self, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program; it finds this other release, and ``tests``."""
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self._home,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(self._home), str(ROOT))), **environment},
        )

    def told(self, program: str, *arguments: str) -> dict:
        """Return the JSON that a program writes."""
        done = self.run(program, *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def raised(match: re.Match, step: int) -> str:
    number = int(match[1])
    return match[0].replace(match[1], str(number + step))
