"""How a request is answered, and what that saved."""

from __future__ import annotations

import msgspec

from sayonce.cache.flight import Flight
from sayonce.core.audio_start import AudioStart
from sayonce.core.envelope import Entry
from sayonce.core.outcome import Outcome


class Answer(msgspec.Struct, frozen=True):
    """How a request is answered: a stored entry, or a flight that has begun."""

    outcome: Outcome
    entry: Entry | None = None
    flight: Flight | None = None
    tier: str | None = None

    @property
    def known_entry(self) -> Entry | None:
        """The whole value, if it is there already."""
        return self.entry if self.entry is not None or self.flight is None else self.flight.entry

    @property
    def created(self) -> float:
        """When the value was, or is being, computed: seconds since the Unix epoch."""
        source = self.entry or self.flight
        assert source is not None
        return source.created

    @property
    def media_type(self) -> str:
        """The value's media type; that of a flight is in its head."""
        if self.known_entry is not None:
            return self.known_entry.media_type
        assert self.flight is not None
        head = self.flight.head
        return head.media_type if isinstance(head, AudioStart) else str(head)

    async def result(self) -> Entry:
        """Return the entry, waiting for the flight if there is one."""
        if self.entry is not None:
            return self.entry
        assert self.flight is not None
        return await self.flight.result()

    def close(self) -> None:
        """Listen no more: a computation for this request alone is abandoned, any other goes on and is kept."""
        if self.flight is not None:
            self.flight.leave()


def saved_seconds(entry: Entry) -> float:
    """Return the seconds of computing that a reuse of this entry saves; a derived format saves its take's."""
    return float(entry.about.get("take_seconds", entry.compute_seconds))
