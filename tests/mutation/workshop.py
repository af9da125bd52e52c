"""A copy of the sources in which one mutant after the other is tested, each in a fork of a process that imported all libraries."""

from __future__ import annotations

import compileall
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.paths import ROOT
from tests.mutation.mutants import Mutant

SOURCES = ROOT / "src/sayonce"
FAILED, NO_TESTS = 1, 5
"""How pytest ends."""
MOST_SECONDS = 60
CPU_SECONDS = 60
"""What endless loops get; what waits for ever is ended by pytest's time-out, and on a busy machine much takes long."""


@dataclass(frozen=True)
class Baseline:
    """What the tests do without a mutant: seconds by test, tests by line of each module, the libraries imported."""

    seconds: dict[str, float]
    tests: dict[str, dict[int, list[str]]]
    libraries: list[str]

    def noticing(self, mutant: Mutant) -> list[str]:
        """Return the tests that run a line of the mutant, all for lines that run at import: the fastest, a minute of them."""
        lines = self.tests.get(mutant.path, {})
        found = {test for line in mutant.lines for test in lines.get(line, ())}
        fastest = sorted(
            self.seconds if "" in found else found & self.seconds.keys(), key=lambda test: (self.seconds[test], test)
        )
        ended = accumulate(self.seconds[test] for test in fastest)
        return [test for test, end in zip(fastest, ended, strict=True) if end <= MOST_SECONDS]


class Selection:
    """A pytest plugin that runs the given tests alone, in the order given, and measures each."""

    def __init__(self, tests: Sequence[str] | None = None, begin: Callable[[str], object] = lambda _: None) -> None:
        self._place = None if tests is None else {test: place for place, test in enumerate(tests)}
        self._begin = begin
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_configure(self) -> None:
        import hypothesis

        kept = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # nobody reads the example, so none is shrunk
        like = hypothesis.settings.get_profile("any machine")
        hypothesis.settings.register_profile("mutation", like, phases=kept, derandomize=True, database=None)
        hypothesis.settings.load_profile("mutation")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._place is not None:
            items[:] = sorted(
                (each for each in items if each.nodeid in self._place), key=lambda each: self._place[each.nodeid]
            )

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._begin(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration


class Workshop:
    """One copy of the sources, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        self._package = directory / "sources/sayonce"
        self._report = directory / "baseline.json"
        self._output = directory / "output.txt"
        self._directory = directory
        shutil.copytree(SOURCES, self._package)
        compileall.compile_dir(self._package, quiet=2)
        sys.path.insert(0, str(self._package.parent))
        os.environ["PYTHONPATH"] = str(self._package.parent)
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(directory / "hypothesis")
        (directory / "empty").mkdir()
        with suppress(SystemExit):  # the plugins of pytest must be imported by pytest
            nowhere = str(directory / "empty")
            loops = "asyncio_default_fixture_loop_scope=function"
            pytest.main(["-qq", "--collect-only", "--rootdir", nowhere, "-c", os.devnull, "-o", loops, nowhere])

    def baseline(self, tests: Sequence[str], select: str) -> Baseline:
        """Run the tests without a mutant, and leave out those that fail.

        Raises:
            RuntimeError: they do not run.

        """
        code = self._fork(lambda: self._measure(tests, select), 1800)
        if code not in {0, FAILED}:
            raise RuntimeError(f"the tests do not run without a mutant, see {self._output}")
        told = json.loads(self._report.read_text())
        for test in told["failed"]:
            print(f"  left out, as it fails without a mutant: {test}", flush=True)
        lines = {path: {int(line): by for line, by in each.items()} for path, each in told["tests"].items()}
        return Baseline(told["seconds"], lines, told["libraries"])

    def prepare(self, baseline: Baseline) -> None:
        """Import what the tests import of libraries, so that no fork has to."""
        for name in baseline.libraries:
            with suppress(Exception):
                importlib.import_module(name)
        assert "sayonce" not in sys.modules
        gc.collect()
        gc.freeze()  # what is imported here is no garbage of a fork's

    def survives(self, mutant: Mutant, baseline: Baseline) -> bool:
        """Return whether every test that runs the mutant's lines passes."""
        tests = baseline.noticing(mutant)
        path = self._package / mutant.path
        original = path.read_bytes()
        times = path.stat()
        path.write_text(mutant.source)
        try:
            return not tests or self._fork(lambda: self._run(tests), 600) in {0, NO_TESTS}
        finally:
            path.write_bytes(original)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def _measure(self, tests: Sequence[str], select: str) -> int:
        import coverage

        sys.dont_write_bytecode = False  # of the tests, once for all forks
        cover = coverage.Coverage(data_file=None, source=[str(self._package)], config_file=False)
        selection = Selection(begin=cover.switch_context)
        before = set(sys.modules)
        cover.start()
        code = self._pytest([*tests, "-k", select, "--durations=10"], selection)
        cover.stop()
        data = cover.get_data()
        told: dict[str, Any] = {
            "seconds": {test: took for test, took in selection.seconds.items() if test not in selection.failed},
            "failed": sorted(selection.failed),
            "tests": {
                str(Path(each).relative_to(self._package)): data.contexts_by_lineno(each)
                for each in data.measured_files()
            },
            "libraries": [
                name for name in sys.modules if name not in before and name.split(".")[0] not in {"sayonce", "tests"}
            ],
        }
        self._report.write_text(json.dumps(told))
        return code

    def _run(self, tests: Sequence[str]) -> int:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        files = dict.fromkeys(test.split("::")[0] for test in tests)
        return self._pytest([*files, "-x", "--timeout=60"], Selection(tests))

    def _pytest(self, arguments: Collection[str], selection: Selection) -> int:
        return int(
            pytest.main(
                ["-q", "-p", "no:cacheprovider", f"--basetemp={self._directory / 'tmp'}", *arguments],
                plugins=[selection],
            )
        )

    def _fork(self, run: Callable[[], int], deadline_seconds: float) -> int:
        """Run in a fork, within a process group of its own, and return how it ended; a negative number is a signal."""
        child = os.fork()
        if not child:
            code = 3
            try:
                os.setpgid(0, 0)
                out = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                for stream in (1, 2):
                    os.dup2(out, stream)
                code = run()
            finally:
                os._exit(code)
        code = ended_within(child, deadline_seconds)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        return ended_within(child, 60) if code is None else code


def ended_within(child: int, seconds: float) -> int | None:
    """Return the exit code of a child, None where it still runs."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None
