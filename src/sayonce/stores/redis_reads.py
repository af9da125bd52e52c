"""Reads that come together go to Redis together: one MGET instead of many GETs, and nobody waits for company.

A read that finds the way free goes at once. Those that come while it is under way go together as soon as it is back, so
the more there is to read, the less each costs. The client's work for a command is most of what a GET costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from redis.exceptions import ResponseError

from sayonce.stores.base import StoreError
from sayonce.stores.redis_coordinator import At

UNDER_WAY: Final = 4
"""Round trips at once: while one is answered the next can be asked for."""
TOGETHER: Final = 8
"""Values of one MGET, so that a small one does not wait for too many large ones."""

Waiting = tuple[str, "asyncio.Future[bytes | None]"]


class Reads:
    """Reads values by their names; ``together`` says that all are at one server, as they are but in a Cluster."""

    def __init__(self, at: At, *, together: bool) -> None:
        self._at = at
        self._together = together
        self._under_way = 0
        self._waiting: list[Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, name: str) -> bytes | None:
        """Return the value of a name.

        Raises:
            StoreError: the server did not answer.

        """
        if self._under_way < UNDER_WAY or not self._together:
            self._under_way += 1
            try:
                value: bytes | None = await self._at(name, partial(_get, name=name))
                return value
            finally:
                self._back()
        value_to_come: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((name, value_to_come))
        return await value_to_come

    def _back(self) -> None:
        """Let those who wait go, where there are any."""
        self._under_way -= 1
        wanted = [(name, future) for name, future in self._waiting[:TOGETHER] if not future.done()]
        del self._waiting[:TOGETHER]
        if wanted:
            self._under_way += 1
            task = asyncio.create_task(self._get_together(wanted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif self._waiting:
            self._under_way += 1
            self._back()

    async def _get_together(self, wanted: Sequence[Waiting]) -> None:
        names = [name for name, _ in wanted]
        task = asyncio.current_task()
        assert task is not None
        for _, future in wanted:
            future.add_done_callback(partial(_give_up, task, wanted))
        try:
            values = await self._at(names[0], partial(_mget, names=names))
        except StoreError as error:
            for _, future in wanted:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), value in zip(wanted, values, strict=True):
                if not future.done():
                    future.set_result(value)
        finally:
            self._back()


def _give_up(task: asyncio.Task[None], wanted: Sequence[Waiting], _: object) -> None:
    """End a read that nobody waits for any more: a server that hangs would keep the way for all who come later."""
    if all(future.done() for _, future in wanted):
        task.cancel()


async def _get(redis: Any, *, name: str) -> bytes | None:
    try:
        value: bytes | None = await redis.get(name)
    except ResponseError as error:
        if "WRONGTYPE" in str(error):  # another program's list or hash under our name: a miss, as MGET has it
            return None
        raise
    return value


async def _mget(redis: Any, *, names: Sequence[str]) -> list[bytes | None]:
    values: list[bytes | None] = await redis.mget(names)
    return values
