"""The errors of a caller's own function, carried to where the caller waits.

Futures, coroutines and event loops take some exceptions for signals of their own: ``StopIteration`` never arrives,
``SystemExit`` ends the loop. All are carried inside a ``CarriedError``, and ``released`` raises them where the caller waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")


class CarriedError(Exception):
    """Carries an error of the caller's own function; no failure of ours."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = error


class CarryErrors:
    """A context that raises every error of its body as a ``CarriedError``, but for the end of the task that it runs in."""

    def __enter__(self) -> None:
        return

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None and not isinstance(error, CarriedError) and not _ends_the_task(error):
            raise CarriedError(error) from error


def _ends_the_task(error: BaseException) -> bool:
    if not isinstance(error, asyncio.CancelledError | GeneratorExit) or asyncio._get_running_loop() is None:  # noqa: SLF001 (documented: None instead of an exception)
        return False
    task = asyncio.current_task()
    return isinstance(error, GeneratorExit) or (task is not None and task.cancelling() > 0)


async def released(awaitable: Awaitable[T]) -> T:
    """Return the awaited value, or raise the error of the caller's function, with its own cause and context."""
    try:
        return await awaitable
    except CarriedError as raised:
        error = raised.error
    raise error  # outside of the handler, which would become its context
