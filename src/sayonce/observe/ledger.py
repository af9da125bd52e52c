"""The savings ledger: requests, computing and savings by tenant, engine, model, voice and day.

Every process writes the running figures of its own day, whole and under a name of its own: a write that is repeated, or
that a timeout left in doubt, changes nothing. The figures of a day are the sum over the processes that wrote some.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from typing import Any, Final, NamedTuple, Self

import msgspec

from sayonce.cache import saved_seconds
from sayonce.core.clock import Clock
from sayonce.core.envelope import Entry
from sayonce.core.outcome import Outcome
from sayonce.observe.metrics import Samples, add
from sayonce.speech.plan import Plan
from sayonce.stores.base import Store

MAX_ACCOUNTS: Final = 1000
"""Accounts that a process keeps apart in a day: clients may name any voice. Beyond them an engine's voices share one."""
OTHER: Final = "(other)"
_MAX_DAYS: Final = 31
"""Days that a process remembers while the store takes none of them."""
_DAY_SECONDS: Final = 86_400
_EPOCH: Final = date(1970, 1, 1).toordinal()

Owner = tuple[str, str, str, str]
"""Tenant, engine, model and voice."""
Do = Callable[[Callable[[], Awaitable[None]]], Awaitable[bool]]
"""Runs an operation of the store and returns whether it was done."""


class Figures(msgspec.Struct):
    """An account; costs are in the currency of the engine's prices."""

    requests: int = 0
    hits: int = 0
    joined: int = 0
    compute_seconds: float = 0.0
    saved_seconds: float = 0.0
    cost: float = 0.0
    saved_cost: float = 0.0
    sent_bytes: int = 0
    saved_bytes: int = 0

    def add(self, other: Figures) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


Accounts = dict[Owner, Figures]
_decoder = msgspec.msgpack.Decoder(list[tuple[Owner, Figures]])

METRICS: Final = {
    "compute_seconds": "sayonce_compute_seconds",
    "saved_seconds": "sayonce_saved_compute_seconds",
    "cost": "sayonce_cost",
    "saved_cost": "sayonce_saved_cost",
    "sent_bytes": "sayonce_sent_bytes",
    "saved_bytes": "sayonce_saved_bytes",
}


class Worth(NamedTuple):
    """The seconds and the cost of computing a clip, and its size."""

    seconds: float
    cost: float
    body_bytes: int

    @classmethod
    def of(cls, plan: Plan, entry: Entry) -> Self:
        seconds = saved_seconds(entry)
        cost = plan.request.engine.cost(seconds, plan.request.utterance.text)
        return cls(seconds, cost, len(entry.body))


class _Part:
    """The charges of one process in one day."""

    def __init__(self, day: int) -> None:
        self.day = day
        self.name = secrets.token_hex(8)
        self.accounts: Accounts = {}
        self.written = encode({})

    def go_on_with(self, name: str, accounts: Accounts) -> None:
        """Continue another part under its name, with its accounts added to this one's."""
        self.name, self.written = name, encode(accounts)
        for owner, figures in self.accounts.items():
            accounts.setdefault(owner, Figures()).add(figures)
        self.accounts = accounts


class Ledger:
    """The charges of this process to accounts. Days are UTC's."""

    def __init__(self, clock: Clock, *, max_accounts: int = MAX_ACCOUNTS) -> None:
        self._clock = clock
        self._max_accounts = max_accounts
        self._part = _Part(0)
        self._past: list[_Part] = []
        self._by_engine: defaultdict[str, Figures] = defaultdict(Figures)  # of past days

    def charge(self, plan: Plan, outcome: Outcome, entry: Entry) -> None:
        """Charge an answer to its account."""
        self.charge_equal(plan, outcome, Worth.of(plan, entry), 1)

    def charge_equal(self, plan: Plan, outcome: Outcome, worth: Worth, times: int) -> None:
        """Charge so many answers of equal worth."""
        figures = self._account(plan)
        seconds, cost, size = times * worth.seconds, times * worth.cost, times * worth.body_bytes
        figures.requests += times
        figures.sent_bytes += size
        if outcome.computed:
            figures.compute_seconds += seconds
            figures.cost += cost
            return
        if outcome.stored:
            figures.hits += times
        else:
            figures.joined += times
        figures.saved_seconds += seconds
        figures.saved_cost += cost
        figures.saved_bytes += size

    def charge_computing(self, plan: Plan, entry: Entry) -> None:
        """Charge a clip that was computed ahead: it costs, and answers no request."""
        figures, worth = self._account(plan), Worth.of(plan, entry)
        figures.compute_seconds += worth.seconds
        figures.cost += worth.cost

    def samples(self) -> Samples:
        """Return this process's figures by engine."""
        samples: Samples = {}
        now = ((engine, figures) for (_, engine, _, _), figures in self._part.accounts.items())
        for engine, figures in (*self._by_engine.items(), *now):
            for field, metric in METRICS.items():
                add(samples, metric, (engine,), getattr(figures, field))
        return samples

    async def write(self, store: Store, do: Do) -> bool:
        """Write the changed parts, and return whether the store took all; the others are written the next time."""
        for part in (*self._past, self._part):
            encoded = encode(part.accounts)
            if encoded != part.written:
                if not await do(partial(store.write_field, table_of(part.day), part.name, encoded)):
                    return False
                part.written = encoded
        self._past = [part for part in self._past if encode(part.accounts) != part.written]
        return True

    async def go_on_with(self, store: Store, name: str) -> None:
        """Continue an ended process's part of today from now on; only one process at a time may do so.

        Raises:
            StoreError: the store did not answer; this process keeps the part of its own.

        """
        written = await store.read_field(table_of(self._part.day), name)
        self._part.go_on_with(name, {} if written is None else _decode(written))

    async def read(self, store: Store | None, day: int) -> list[Accounts]:
        """Return the charges of every process in a day, with the newest of this one.

        Raises:
            StoreError: the store did not answer.

        """
        written = {} if store is None else await store.read_table(table_of(day))
        parts = {name: _decode(part) for name, part in written.items()}
        parts |= {part.name: part.accounts for part in (*self._past, self._part) if part.day == day}
        return list(parts.values())

    def _account(self, plan: Plan) -> Figures:
        """Return the account of today that a request is charged to."""
        day = self._clock() // _DAY_SECONDS
        if day != self._part.day:
            self._turn_to(int(day))
        utterance = plan.request.utterance
        owner = (plan.tenant, plan.request.engine.name, utterance.model, utterance.voice)
        return self._part.accounts.get(owner) or self._open(owner)

    def _open(self, owner: Owner) -> Figures:
        if len(self._part.accounts) >= self._max_accounts:
            owner = (*owner[:3], OTHER)
        return self._part.accounts.setdefault(owner, Figures())

    def _turn_to(self, day: int) -> None:
        for (_, engine, _, _), figures in self._part.accounts.items():
            self._by_engine[engine].add(figures)
        self._past = [*self._past, self._part][-_MAX_DAYS:]
        self._part = _Part(day)


def table_of(day: int) -> str:
    """Return the name of a day's table in the store."""
    return f"ledger {date.fromordinal(_EPOCH + day)}"


def number_of(day: date) -> int:
    """Return a day as its number since the Unix epoch."""
    return day.toordinal() - _EPOCH


def _decode(part: bytes) -> Accounts:
    """Return the accounts of a part; none where the bytes are not ours."""
    try:
        return dict(_decoder.decode(part))
    except msgspec.MsgspecError:
        return {}


def encode(accounts: Accounts) -> bytes:
    return msgspec.msgpack.encode(list[Any](accounts.items()))
