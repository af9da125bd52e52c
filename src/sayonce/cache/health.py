"""How the store behind memory is, in one word and in a sentence, for every report of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from sayonce.cache.guarded_store import GuardedStore
    from sayonce.cache.view import View

StoreState = Literal["none", "ok", "incomplete", "unwritable", "failing"]
STATES: Final[tuple[StoreState, ...]] = ("ok", "incomplete", "unwritable", "failing")
"""Those that a store can have, the best first."""
_FAILED_READINGS: Final = 5
"""In a row: a busy process, or a store that has just come back, may fail a few."""
_GIVEN_UP: Final = "the store's file was damaged, and names of uploaded voices may have been lost with it"


class StoreHealth:
    """The state of a store: ``ok`` only where nothing that is asked of it fails.

    ``incomplete``: it answers, and a part of what it should have cannot be had: large bodies, names of voices, or what was
    purged elsewhere. ``unwritable``: what it has is to be had, and it takes nothing new. ``failing``: it is not asked, as it
    failed, or a table is beyond its bound.
    """

    def __init__(self, stored: GuardedStore, view: View) -> None:
        self._store = stored.index.store
        self._stored = stored
        self._view = view
        self.lost: dict[str, str] = {}
        """Why a table cannot be read whole, by table, as its readers have noted."""

    @property
    def state(self) -> StoreState:
        if self._stored.index.breaker.open or self._store.unread:
            return "failing"
        if any(self.unwritable.values()):
            return "unwritable"
        return "ok" if self.trouble is None else "incomplete"

    @property
    def trouble(self) -> str | None:
        """The trouble, in words; None where nothing fails."""
        return next((why for why in self._troubles() if why is not None), None)

    @property
    def unwritable(self) -> dict[str, str | None]:
        """Why each part of the store takes no new values; None where it does."""
        return self._stored.unwritable()

    @property
    def failing(self) -> dict[str, bool]:
        """Whether the circuit breaker of each part of the store is open."""
        return self._stored.failing()

    def _troubles(self) -> Iterator[str | None]:
        yield self._stored.trouble
        yield from self._store.unread.values()
        if self._view.failures >= _FAILED_READINGS:
            yield f"what was purged elsewhere cannot be read: {self._stored.index.last_error or 'no answer'}"
        yield from self.lost.values()
        if self._store.incomplete:
            yield _GIVEN_UP
