"""Engines that compute in this process: the model runs in threads, and its audio reaches the event loop as it is made."""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Final

from sayonce.core.audio_start import AudioStart
from sayonce.errors import EngineError, SayonceError
from sayonce.speech.engines.base import Engine
from sayonce.speech.engines.utterance import Utterance

CHUNKS_AHEAD: Final = 8
"""How many chunks a model may be ahead of its listener."""

Emit = Callable[[bytes], None]
"""Hands a chunk of PCM over; blocks while the listener is behind, and raises ``Abandoned`` when it has gone."""


class Abandoned(Exception):
    """The listener has gone, so the model need not go on."""


class LocalEngine(Engine):
    """A model in this process. A subclass blocks in ``load_model`` and ``speak``, which run in threads of its own."""

    sample_rate_hz: int
    """The rate of the PCM that ``speak`` emits."""

    async def load(self) -> None:
        work = asyncio.get_running_loop().run_in_executor(self._threads, self.load_model)
        await asyncio.wait([work])
        self._check(work)

    async def synthesize(self, utterance: Utterance) -> AsyncGenerator[AudioStart | bytes, None]:
        handover = _Handover()
        work = asyncio.get_running_loop().run_in_executor(self._threads, self.speak, utterance, handover.put)
        work.add_done_callback(handover.end)
        try:
            yield AudioStart(self.sample_rate_hz)
            while (chunk := await handover.get()) is not None:
                yield chunk
            self._check(work)
        finally:
            handover.abandon()
            work.cancel()  # it may still wait for a thread; and a failure that nobody listens to is not reported

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def load_model(self) -> None:
        """Load the model, in a thread."""

    @abstractmethod
    def speak(self, utterance: Utterance, emit: Emit) -> None:
        """Emit the utterance as PCM16 at ``sample_rate_hz``, mono, in a thread; ``concurrency`` of them run at once."""

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.concurrency, thread_name_prefix=f"sayonce-{self.name}")

    def _check(self, work: asyncio.Future[None]) -> None:
        """Raise the model's failure: ours as it is, a foreign one, whatever it is, as the engine's."""
        error = EngineError(f"{self.name!r} was closed meanwhile") if work.cancelled() else work.exception()
        if error is None:
            return
        if isinstance(error, SayonceError):
            raise error
        raise EngineError(f"{self.name!r} failed: {type(error).__name__}: {error}") from error


class _Handover:
    """A bounded queue from one thread into the event loop that either side may leave."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._slots = threading.Semaphore(CHUNKS_AHEAD)
        self._abandoned = False

    def put(self, chunk: bytes) -> None:
        self._slots.acquire()
        if self._abandoned:
            raise Abandoned
        self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)

    async def get(self) -> bytes | None:
        """Return the next chunk, or None after the last."""
        chunk = await self._chunks.get()
        self._slots.release()
        return chunk

    def end(self, _: asyncio.Future[None]) -> None:
        self._chunks.put_nowait(None)

    def abandon(self) -> None:
        self._abandoned = True
        self._slots.release()
