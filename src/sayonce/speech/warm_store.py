"""Warm a store: this process's engines make what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sayonce.core.envelope import Entry
from sayonce.core.key import Digest
from sayonce.speech.parameters import read_value
from sayonce.speech.rows import Row
from sayonce.speech.synthesis import Plan, Synthesizer
from sayonce.speech.warm import DEFAULT_FORMAT, Make, check_answering


class StoreTarget:
    """Clips made by this process's engines, and kept in the store; ``computed`` is told of each."""

    def __init__(
        self, synthesizer: Synthesizer, tenant: str = "", *, computed: Callable[[Plan, Entry], None] = lambda *_: None
    ) -> None:
        self._synthesizer = synthesizer
        self._cache = synthesizer.cache
        self._tenant = tenant
        self._computed = computed
        self._loaded = False
        self._made: list[tuple[Row, Digest]] = []

    async def look(self, row: Row) -> Make | None:
        plan = self._plan(row)
        # A lossless format is made of the take in a millisecond, so it is not kept in the store.
        wanted = plan.take_key if plan.request.format.lossless else plan.clip_key
        if await self._cache.lookup(wanted) is not None:
            return None
        check_answering(self._cache)
        return partial(self._make, row, plan)

    def _plan(self, row: Row) -> Plan:
        model = row.fields.get("model")
        engine = self._synthesizer.catalogue.find(model if type(model) is str else None)  # parsing tells what it is
        declared = {parameter.name: parameter for parameter in engine.parameters}
        cells = {name: read_value(text, declared.get(name)) for name, text in row.cells.items()}
        fields = {"response_format": DEFAULT_FORMAT, **cells, **row.fields}
        return self._synthesizer.plan(self._synthesizer.parse(fields, self._tenant), self._tenant)

    async def _make(self, row: Row, plan: Plan) -> bool:
        if not self._loaded:
            self._loaded = True
            self._synthesizer.load()
        answer = await self._synthesizer.speak(plan)
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
        return [row for row, key in self._made if await self._cache.attempt(partial(store.get, key)) is None]
