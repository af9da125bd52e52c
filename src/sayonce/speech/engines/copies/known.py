"""The copies at one server as far as this process knows, and when that server is not asked to take one."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeVar

import msgspec

from sayonce.core.clock import Clock
from sayonce.speech.engines.copies.server import ServerVoices

T = TypeVar("T")

NOTHING_SECONDS: Final = 600.0
"""How long a server is left alone that keeps no voices, or does not keep this one."""
_MOST_LOSSES: Final = 3
"""A copy that is lost so often within ten minutes is not there to stay: others send a reference under its name, or none lasts."""
_MOST_REMEMBERED: Final = 1000


class Copy(msgspec.Struct, frozen=True):
    """A reference that a server has under a name; ``mark`` tells it from any other that it may once have under it."""

    name: str
    mark: str


class KnownCopies:
    """The copies at one server, as far as this process knows."""

    def __init__(self, server: ServerVoices, clock: Clock) -> None:
        self.server = server
        self.marks: OrderedDict[str, str] = OrderedDict()
        """Of the copies that are there, the most recently used last."""
        self._clock = clock
        self._avoided: OrderedDict[str, float] = OrderedDict()
        self._losses: OrderedDict[str, list[float]] = OrderedDict()
        self._rests_until = 0.0

    def use(self, name: str) -> Copy | None:
        mark = self.marks.get(name)
        return None if mark is None else self.know(name, mark)

    def know(self, name: str, mark: str) -> Copy:
        _remember(self.marks, name, mark)
        return Copy(name, mark)

    def lose(self, name: str) -> None:
        del self.marks[name]
        now = self._clock()
        lately = [moment for moment in self._losses.get(name, ()) if now - moment < NOTHING_SECONDS]
        _remember(self._losses, name, [*lately, now])
        if len(lately) + 1 >= _MOST_LOSSES:
            self.avoid(name, NOTHING_SECONDS)

    def rest(self, seconds: float) -> None:
        """Try no copy for a while: each reference goes along with its requests."""
        self._rests_until = self._clock() + seconds

    def avoid(self, name: str, seconds: float) -> None:
        """Do not try this copy for a while."""
        self.marks.pop(name, None)
        _remember(self._avoided, name, self._clock() + seconds)

    def may_try(self, name: str) -> bool:
        now = self._clock()
        return now >= self._rests_until and now >= self._avoided.get(name, 0.0)


def _remember(known: OrderedDict[str, T], name: str, value: T) -> None:
    known[name] = value
    known.move_to_end(name)
    if len(known) > _MOST_REMEMBERED:
        known.popitem(last=False)
