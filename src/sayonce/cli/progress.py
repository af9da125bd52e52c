"""The progress of a long command: a bar on a terminal, else lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sayonce.cli.output import talk

_LINES: Final = 10


@contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each row: it moves a bar on a terminal, and elsewhere prints a line at each tenth."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
            task = bar.add_task("warm", total=total)
            yield lambda: bar.advance(task)
        return
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if _LINES * done // total > _LINES * (done - 1) // total:
            talk("{done} of {total}", done=done, total=total)

    yield advance
