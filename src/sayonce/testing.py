"""For your own tests: an engine that counts its calls, a store that fails as told, and a clock that you move."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec

from sayonce.core.clock import Clock
from sayonce.core.envelope import Entry
from sayonce.errors import StoreError
from sayonce.speech.engines import AudioStart, Engine, Parameter, Utterance, Voice
from sayonce.stores.base import StoreStats
from sayonce.stores.memory import MemoryStore

__all__ = ["FakeClock", "FaultyStore", "StubEngine"]


class FakeClock:
    """A clock that stands still until it is moved; seconds since the Unix epoch."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class StubEngine(Engine):
    """An engine that makes noise of each utterance, always the same; it counts its calls and can be held or made to fail.

    ``gate`` is waited for before every chunk but the first: clear it to hold the engine in mid-speech. ``failure`` is
    raised in place of the chunk with the number ``fails_at``.
    """

    kind = "stub"
    default_voice = "anna"
    concurrency = 1000
    queue = 1000
    parameters = (
        Parameter(name="speed", type=float, default=1.0, minimum=0.25, maximum=4.0),
        Parameter(name="emotion", type=str, default="calm", choices=("calm", "happy", "angry")),
        Parameter(name="trace_id", type=str, default="", heard=False),
    )

    def __init__(self, name: str = "stub", *, chunks: int = 4, sample_rate_hz: int = 24_000) -> None:
        super().__init__(name)
        self.chunks = chunks
        self.sample_rate_hz = sample_rate_hz
        self.revision = "1"
        self.calls: list[Utterance] = []
        self.finished = 0
        self.failure: Exception | None = None
        self.fails_at = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> None:
        """Nothing to load."""

    def identity(self) -> Mapping[str, Any]:
        return {"kind": self.kind, "revision": self.revision}

    def voices(self) -> tuple[Voice, ...]:
        return (Voice("anna", "en"), Voice("ben", "en"))

    async def synthesize(self, utterance: Utterance) -> AsyncGenerator[AudioStart | bytes, None]:
        self.calls.append(utterance)
        yield AudioStart(self.sample_rate_hz)
        for number in range(self.chunks):
            if number:
                await self.gate.wait()
            if self.failure is not None and number == self.fails_at:
                raise self.failure
            yield self.sound(utterance, number)
        self.finished += 1

    def sound(self, utterance: Utterance, number: int) -> bytes:
        """Return the PCM of one chunk: 0.1 s of noise."""
        heard = {name: value for name, value in utterance.parameters.items() if name not in self.unheard}
        seed = msgspec.msgpack.encode([self.revision, utterance.text, utterance.voice, sorted(heard.items()), number])
        return hashlib.shake_128(seed).digest(self.sample_rate_hz // 10 * 2)


class FaultyStore(MemoryStore):
    """A store that answers while ``fault`` is None, raises while it is an exception, and never answers at ``"hang"``."""

    name = "faulty"

    def __init__(self, max_bytes: int = 256_000_000, *, clock: Clock = time.time) -> None:
        super().__init__(max_bytes, clock=clock)
        self.fault: Exception | str | None = None
        self.asked = 0

    async def _trouble(self) -> None:
        self.asked += 1
        if self.fault == "hang":
            await asyncio.Event().wait()
        if isinstance(self.fault, Exception):
            raise self.fault
        if self.fault is not None:
            raise StoreError(self.fault)

    async def get(self, key: bytes) -> Entry | None:
        await self._trouble()
        return await super().get(key)

    async def put(self, entry: Entry) -> bool:
        await self._trouble()
        return await super().put(entry)

    async def delete(self, key: bytes) -> bool:
        await self._trouble()
        return await super().delete(key)

    async def stats(self) -> StoreStats:
        await self._trouble()
        return await super().stats()

    async def swap_field(self, table: str, field: str, old: bytes | None, new: bytes | None) -> bool:
        await self._trouble()
        return await super().swap_field(table, field, old, new)

    async def read_field(self, table: str, field: str) -> bytes | None:
        await self._trouble()
        return await super().read_field(table, field)

    async def read_table(self, table: str) -> dict[str, bytes]:
        await self._trouble()
        return await super().read_table(table)

    async def count(self, deltas: Mapping[str, float]) -> None:
        await self._trouble()
        await super().count(deltas)
