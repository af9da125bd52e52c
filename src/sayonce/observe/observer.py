"""The observer of requests: it counts them for the metrics, charges the ledger, and writes at most one log line each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from sayonce.cache import Answer
from sayonce.core.envelope import Entry
from sayonce.core.outcome import Outcome
from sayonce.errors import CallerError, SayonceError
from sayonce.observe.collect import of_cache, of_engines, of_store
from sayonce.observe.hits import Hits
from sayonce.observe.ledger import Ledger
from sayonce.observe.ledger_writer import LedgerWriter
from sayonce.observe.metrics import Histogram, Samples, add, total
from sayonce.observe.recent import REFUSED, UNKNOWN, Recent, Shown, named
from sayonce.observe.workers import WRITE_SECONDS, Workers
from sayonce.speech.plan import Plan
from sayonce.speech.synthesis import Synthesizer

log = logging.getLogger("sayonce.request")
_own_log = logging.getLogger("sayonce.observe")


class Observer:
    """Watches the requests of one process; an async context manager that passes the figures on while it is open.

    ``texts`` lets the dashboard show the texts of its most reused clips.
    """

    def __init__(
        self, synthesizer: Synthesizer, workers: Workers, *, log_hits: bool = False, texts: bool = False
    ) -> None:
        self._synthesizer = synthesizer
        self._cache = synthesizer.cache
        self._workers = workers
        self._log_hits = log_hits
        self._ledger = Ledger(self._cache.now)
        self._writer = LedgerWriter(self._cache, lambda: self.ledger)
        self._recent = Recent(self._cache.may_have, texts=texts)
        self._cache.on_purge(self._recent.forget_texts)
        self._answered: defaultdict[tuple[str, Outcome, str | None], Histogram] = defaultdict(Histogram)
        self._begun: defaultdict[tuple[str, Outcome, str | None], Histogram] = defaultdict(Histogram)
        self._errors: Counter[tuple[str, str]] = Counter()
        self._hits = Hits(
            self._ledger.charge_equal,
            lambda engine, tier: self._answered[engine, Outcome.HIT, tier],
            self._recent.clip,
            synthesizer.in_use,
            latest=self._recent.noted,
            counts=self._cache.counts,
        )
        self._task: asyncio.Task[None] | None = None

    # -- noting requests -------------------------------------------------------------------------------------------

    def answered(self, plan: Plan, answer: Answer, started: float, begun: float) -> None:
        """Note an answer that was sent whole; times are ``time.perf_counter``'s, ``begun`` 0 when it did not stream."""
        outcome, tier, entry = answer.outcome, answer.tier, answer.known_entry
        assert entry is not None
        if outcome is Outcome.HIT:
            seconds = self._hits.note(plan, entry, tier, started)
            if not self._log_hits:  # the line would cost more than the hit
                return
        else:
            seconds = self._note(plan, outcome, tier, entry, started, begun)
        self._tell(logging.INFO, outcome.value, plan, seconds, tier=tier, bytes=len(entry.body))

    def _note(
        self, plan: Plan, outcome: Outcome, tier: str | None, entry: Entry, started: float, begun: float
    ) -> float:
        """Note an answer that was no plain hit, and return its seconds."""
        ended = time.perf_counter()
        seconds = ended - started
        series = (plan.request.engine.name, outcome, tier)
        self._answered[series].observe(seconds)
        self._begun[series].observe(begun - started if begun else seconds)
        self._cache.record(outcome, entry)
        self._ledger.charge(plan, outcome, entry)
        clip = self._recent.clip(plan, entry)
        clip.hits += not outcome.computed
        if outcome is not Outcome.BYPASS:  # which is another sound than the one that is kept
            self._synthesizer.in_use.note(plan, entry, 1)
        self._recent.noted.append((ended, clip, outcome.value, tier, seconds))
        return seconds

    def failed(self, error: SayonceError, started: float, plan: Plan | None = None) -> None:
        """Note a request that got an error, or half a clip."""
        ours = not isinstance(error, CallerError)  # a 504 that ``only-if-cached`` asked for is not
        outcome, reason = Outcome.FAILED.value if ours else REFUSED, error.code or error.kind
        self._errors[outcome, reason] += 1
        ended = time.perf_counter()
        seconds = ended - started
        self._recent.noted.append((ended, named(plan) if plan else UNKNOWN, outcome, reason, seconds))
        self._tell(logging.WARNING if ours else logging.INFO, outcome, plan, seconds, reason=reason)

    def left(self) -> None:
        """Note a client that did not wait for its answer."""
        self._errors["left", "client_left"] += 1

    @staticmethod
    def _tell(level: int, outcome: str, plan: Plan | None, seconds: float, **fields: Any) -> None:
        if not log.isEnabledFor(level):
            return
        if plan is not None:
            utterance = plan.request.utterance
            fields |= {"key": plan.take_key.hex()[:16], "engine": plan.request.engine.name, "tenant": plan.tenant}
            fields |= {"format": plan.request.format.name, "characters": len(utterance.text)}
        log.log(level, "speech", extra={"outcome": outcome, **fields, "ms": round(1000 * seconds, 2)})

    # -- reading figures --------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """The ledger, with all that was charged until now."""
        self._hits.charge()
        return self._ledger

    @property
    def texts(self) -> bool:
        """Whether a dashboard may show the texts of clips."""
        return self._recent.texts

    def shown(self) -> Shown:
        """Return the clips and requests that a dashboard shows, of all processes of this server."""
        return self._workers.show(self._shown())

    def _shown(self) -> Shown:
        self._hits.charge()
        return self._recent.shown()

    async def samples(self) -> Samples:
        """Return the samples of all processes of this server, with the store's figures."""
        return total([self._workers.sum(self._own()), await of_store(self._cache)])

    def _own(self) -> Samples:
        return total([of_cache(self._cache), of_engines(self._synthesizer), self.ledger.samples(), self._requests()])

    def _requests(self) -> Samples:
        samples: Samples = {}
        for (engine, outcome, tier), histogram in self._answered.items():
            labels = (outcome.value, tier or "")
            add(samples, "sayonce_requests", (engine, *labels), histogram.count)
            add(samples, "sayonce_request_seconds", labels, *histogram.numbers())
            begun = self._begun.get((engine, outcome, tier), histogram)
            add(samples, "sayonce_first_byte_seconds", labels, *begun.numbers())
        for labels, number in self._errors.items():
            add(samples, "sayonce_request_errors", labels, number)
        return samples

    # -- between processes ------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._writer.start()
        self._task = asyncio.create_task(self._pass_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._writer.stop()
        with _warned():
            self._workers.end(self._own())

    async def _pass_on(self) -> None:
        while True:
            with _warned():
                self._workers.leave(self._own(), self._shown())
            await asyncio.sleep(WRITE_SECONDS)


@contextmanager
def _warned() -> Iterator[None]:
    """Log, and do not raise, that the disk does not take the figures."""
    try:
        yield
    except OSError as error:
        _own_log.warning("the metrics of this process cannot be left for the others: %s", error.strerror)
