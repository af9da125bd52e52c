"""An engine: it declares what changes its sound, and turns an utterance into PCM as it makes it."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from sayonce.core.audio_start import AudioStart
from sayonce.speech.engines.declaration import Declaration
from sayonce.speech.engines.utterance import Utterance

if TYPE_CHECKING:
    from sayonce.speech.engines.copies.table import CopyTable
    from sayonce.speech.engines.runtime.balance import Upstream

State = Literal["ready", "loading", "down", "failed"]
"""Whether an engine can speak: yes; not yet; not now, as each of its servers has failed; never."""


class Engine(Declaration):
    """A source of speech. A subclass declares itself and speaks; the rest has defaults."""

    concurrency: int = 1
    """The number of slots: how many utterances are spoken at once, by each server where servers speak."""
    queue: int = 256
    """How many utterances may wait for a slot."""
    queue_seconds: float = 60
    """How long an utterance waits for a slot before its client is told to come back."""
    context_headers: Callable[[], Mapping[str, str]] = staticmethod(dict)
    """Returns the headers that a call to another server takes along, such as the trace that it belongs to."""
    upstreams: Sequence[Upstream] = ()
    """The servers that speak for the engine."""
    resized: Callable[[int], None] = staticmethod(lambda _: None)
    """Called with ``capacity`` when that may have changed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self.failed: Exception | None = None

    def attach_copies(self, copies: CopyTable) -> None:
        """Take the table of the copies of uploaded voices that are kept at servers."""

    async def load(self) -> None:
        """Make the engine able to speak; slow, and run in the background.

        Raises:
            EngineError, MissingExtra: it never will.

        """

    @property
    def state(self) -> State:
        if not self.ready.is_set():
            return "loading"
        if self.failed is not None:
            return "failed"
        return "ready" if any(each.up for each in self.upstreams) or not self.upstreams else "down"

    @property
    def capacity(self) -> int:
        """How many utterances the engine can speak at once now."""
        return self.concurrency

    async def check(self) -> Mapping[str, str]:
        """Return what is wrong with each server that does not answer, by its address."""
        return {}

    @abstractmethod
    def synthesize(self, utterance: Utterance) -> AsyncGenerator[AudioStart | bytes, None]:
        """Yield an ``AudioStart``, then the audio as it is made; a normal end means that it is whole.

        Raises:
            EngineError: it failed; what was yielded so far is not kept.

        """

    async def close(self) -> None:
        """Release the model, threads or connections; idempotent."""
