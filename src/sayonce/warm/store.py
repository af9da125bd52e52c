"""Warm a store: this process's engines make the clips that it lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from sayonce.core.cache_control import FOREVER_SECONDS, Policy
from sayonce.core.counters import Operation
from sayonce.core.envelope import Entry
from sayonce.core.key import Digest
from sayonce.speech.engines.parameters import read_value
from sayonce.speech.plan import Plan
from sayonce.speech.synthesis import Synthesizer
from sayonce.warm.rows import Row
from sayonce.warm.runner import DEFAULT_FORMAT, Make, check_answering

_NOT_STALE: Final = Policy(max_age_seconds=FOREVER_SECONDS)


class StoreTarget:
    """Clips made by this process's engines, and kept in the store; ``computed`` is told of each.

    A clip made before ``since`` is made anew.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        tenant: str = "",
        *,
        since: float = 0.0,
        computed: Callable[[Plan, Entry], None] = lambda *_: None,
    ) -> None:
        self._synthesizer = synthesizer
        self._cache = synthesizer.cache
        self._tenant = tenant
        self._since = since
        self._computed = computed
        self._made: list[tuple[Row, Digest]] = []
        self._renewed: set[Digest] = set()
        self._turns: dict[Digest, asyncio.Lock] = {}

    async def look(self, row: Row) -> Make | None:
        plan = self._plan(row)
        if plan.request.is_silence:
            return None  # which is never missing
        # A lossless format is made of the take in a millisecond, so it is not kept in the store.
        wanted = plan.take_key if plan.request.format.lossless else plan.clip_key
        found = await self._cache.find(wanted)
        if found is not None and found.created >= self._since:
            return None
        check_answering(self._cache)
        return partial(self._make if not self._since else self._renew, row, plan)

    def _plan(self, row: Row) -> Plan:
        model = row.fields.get("model")
        engine = self._synthesizer.catalogue.find(model if type(model) is str else None)  # parsing tells what it is
        declared = {parameter.name: parameter for parameter in engine.parameters}
        cells = {name: read_value(text, declared.get(name)) for name, text in row.cells.items()}
        fields = {"response_format": DEFAULT_FORMAT, **cells, **row.fields}
        return self._synthesizer.plan(self._synthesizer.parse(fields, self._tenant), self._tenant)

    async def _renew(self, row: Row, plan: Plan) -> bool:
        """Make a take anew, once for all rows that have it, and the row's format from that."""
        async with self._turns.setdefault(plan.take_key, asyncio.Lock()):
            if plan.take_key not in self._renewed:
                take = await self._cache.find(plan.take_key)
                self._renewed.add(plan.take_key)
                if take is None or take.created < self._since:
                    return await self._make(row, plan, Policy(no_cache=True))
            return await self._make(row, plan)

    async def _make(self, row: Row, plan: Plan, policy: Policy = _NOT_STALE) -> bool:
        answer = await self._synthesizer.speak(plan, policy)
        entry = await answer.result()
        if answer.outcome.computed:
            self._computed(plan, entry)
            self._made.append((row, plan.take_key))
        return answer.outcome.computed

    async def unkept(self) -> list[Row]:
        await self._cache.settle()
        store = self._cache.store
        if store is None:
            return []
        attempt = self._cache.attempt
        return [row for row, key in self._made if await attempt(Operation.GET, partial(store.get, key)) is None]
