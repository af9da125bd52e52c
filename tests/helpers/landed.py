"""What is left of flights once they have landed, where nothing but a reference that is gone frees them."""

import asyncio
import gc
from contextlib import contextmanager

import uvloop

from sayonce.cache import Flight

_ROUNDS = 50
"""Of the event loop, in which all ends that waits for nothing."""


class Landed:
    """The flights that were begun since, and are still in memory."""

    def __init__(self):
        self._before = _flights()

    async def left(self):
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
        before = set(map(id, self._before))
        return [each for each in _flights() if id(each) not in before]


def _flights():
    return [each for each in gc.get_objects() if isinstance(each, Flight)]


@contextmanager
def without_collector():
    """Free nothing that lies in a cycle."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def run_without_collector(scene):
    """Run a coroutine on the event loop that serves; asyncio's own keeps timers that are over."""
    with without_collector():
        uvloop.run(scene)
