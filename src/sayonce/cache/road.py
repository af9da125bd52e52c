"""The order of a request, and nothing else: look up → join or lead → compute → store → answer.

What happens next is in a table, ``core/decision``; here are the two loops that do it, a request's and a flight's. The
steps themselves are elsewhere: what is stored in ``tiers``, a computation and its listeners in ``flight``, those under
way in ``flights``, those of other processes in ``cross_process``.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack, closing
from typing import Any

from sayonce.cache.answer import Answer
from sayonce.cache.cross_process import SharedFlights, Turn
from sayonce.cache.flight import Flight, computing
from sayonce.cache.flights import Flights
from sayonce.cache.invalidation import Invalidation
from sayonce.cache.lookup import Lookup, Scope
from sayonce.cache.made import Keep, Made
from sayonce.cache.renewals import Renewals
from sayonce.cache.tiers import NOTHING, UNKNOWN, Seen, Tiers
from sayonce.core.clock import Clock
from sayonce.core.counters import Counter, Counts, FlightPart
from sayonce.core.decision import Computing, Found, Mode, Step, decide
from sayonce.core.envelope import Entry
from sayonce.core.outcome import Outcome
from sayonce.core.tracer import NoTracer, Tracer
from sayonce.errors import NotCached

Wait = Callable[[Coroutine[Any, Any, None]], Awaitable[None]]
"""How a caller waits until there is something to hear."""


async def plainly(begun: Coroutine[Any, Any, None]) -> None:
    """Wait as long as it takes."""
    await begun


class Road:
    """Answers lookups from what is stored, from a computation under way, or from a new one."""

    def __init__(
        self,
        tiers: Tiers,
        invalidation: Invalidation,
        flights: Flights,
        others: SharedFlights | None,
        counts: Counts,
        *,
        clock: Clock,
    ) -> None:
        self._tiers = tiers
        self._invalidation = invalidation
        self._known = invalidation.known
        self._view = invalidation.view
        self._flights = flights
        self._others = others
        self._counts = counts
        self._clock = clock
        self._renewals = Renewals(counts)
        self.tracer: Tracer = NoTracer()

    # -- a request --------------------------------------------------------------------------------------------------

    async def answer(self, lookup: Lookup, wait: Wait = plainly) -> Answer:
        """Answer from what is stored, from a computation under way, or from a new one.

        Returns as soon as there is something to hear, for which ``wait`` waits. The computation is a task of its own:
        the caller may leave. With ``no-store`` it is nobody else's, and ends when this call is cancelled or the answer
        is closed.

        Raises:
            NotCached: ``only-if-cached``, and nothing is stored.
            Exception: what the computation raised before it had begun.

        """
        mode = Mode.of(lookup.policy)
        if mode is Mode.NO_CACHE:
            await wait(self._flights.landing_over(lookup.key))
        return await self._answer(lookup, mode, await self._tiers.look(lookup), wait)

    async def _answer(self, lookup: Lookup, mode: Mode, seen: Seen, wait: Wait = plainly) -> Answer:
        parents: Sequence[Answer] = ()
        while True:
            under_way = self._flights.joinable(lookup.key)
            match decide(seen.found, mode, _computing(under_way)):
                case Step.RETURN:
                    return seen.answer()
                case Step.RENEW:
                    self._renew(lookup)
                    return seen.answer()
                case Step.ASK_STORE:
                    seen = await self._tiers.ask(lookup)
                case Step.FIND_PARENTS:
                    parents = await self._stored_parents(lookup)
                    seen = Seen(Found.PARENTS) if parents else NOTHING
                case Step.JOIN:
                    assert under_way is not None
                    self._counts.add(Counter.FLIGHTS, FlightPart.JOINED)
                    if mode is not Mode.RENEWAL:
                        under_way.hurry()
                    answer = await _begun(under_way, wait, joined=True)
                    if _serves(under_way, lookup, mode, self._clock()):
                        return answer
                    answer.close()
                    await wait(under_way.over())
                case Step.LAUNCH:
                    return await _begun(self._launch(lookup, mode, seen.found, parents), wait)
                case _:
                    raise NotCached("nothing that is stored may answer this request, and it asked for only-if-cached")

    def _renew(self, lookup: Lookup) -> None:
        """Have what is stale made anew in the background, unless that failed a moment ago."""
        if self._renewals.may_begin(lookup.key) and not self._flights.closed:
            self._launch(lookup, Mode.RENEWAL, Found.STALE).listen()

    async def renew(self, lookup: Lookup) -> Entry | None:
        """Make a value anew ahead of its time, and return it; None where that failed a moment ago.

        With ``min-fresh`` in its policy nothing is made where what is stored, perhaps by another process, lives for so
        long. It is background work, as is the making anew of what is stale.

        Raises:
            Exception: what the computation raised.

        """
        if not self._renewals.may_begin(lookup.key):
            return None
        with closing(await self._answer(lookup, Mode.RENEWAL, await self._tiers.look(lookup))) as answer:
            return await answer.result()

    async def _stored_parents(self, lookup: Lookup) -> list[Answer]:
        """Return all that a value is derived from, if it is stored."""
        seen = [await self._tiers.search(parent) for parent in lookup.parents]
        found = [each.answer() for each in seen if each.entry is not None]
        return found if len(found) == len(seen) else []

    def begin(self, lookup: Lookup) -> tuple[Flight, bool]:
        """Join a computation under way or launch one, at once; return it and whether it was joined.

        For callers that looked up many values at once, and found this one missing.
        """
        under_way = self._flights.joinable(lookup.key)
        if under_way is None:
            return self._launch(lookup, Mode.USUAL, Found.UNLIKELY), False
        self._counts.add(Counter.FLIGHTS, FlightPart.JOINED)
        return under_way, True

    def _launch(self, lookup: Lookup, mode: Mode, found: Found, parents: Sequence[Answer] = ()) -> Flight:
        if mode is not Mode.RENEWAL:  # which nobody waits for
            lookup.check()
        key, private = lookup.key, mode is Mode.NO_STORE
        stamp = self._known.stamp(lookup.tags, key)
        flight = Flight(self._clock(), stamp, private=private, renews=mode is Mode.RENEWAL, launched=self._view.now())
        if private:
            flight.credit(Outcome.BYPASS, None)
        if self._flights.landed_lately(key):  # while this request asked the store
            found = Found.UNKNOWN
        if mode is Mode.ONLY_STORED:  # what is derived of what was found is for everybody
            mode = Mode.USUAL
        self._flights.launch(flight, key, self._fly(flight, lookup, mode, found, parents))
        return flight

    # -- a flight ---------------------------------------------------------------------------------------------------

    async def _fly(self, flight: Flight, lookup: Lookup, mode: Mode, found: Found, parents: Sequence[Answer]) -> None:
        computing([flight])
        seen, renews = Seen(found), False
        with self.tracer.span("flight", key=lookup.key.hex()), self._renewals.noted(flight, lookup.key):
            async with await self._turn(flight, lookup, mode) as turn:
                while not flight.done:
                    match decide(seen.found, mode, turn.computing):
                        case Step.ACQUIRE:
                            await turn.acquire()
                            seen = NOTHING if flight.has_begun else UNKNOWN
                        case Step.FOLLOW:
                            await self._follow(turn, flight, lookup)
                            seen = NOTHING if flight.has_begun or turn.given_up else UNKNOWN
                        case Step.ASK_STORE:
                            seen = await self._tiers.search(
                                lookup, timeout_factor=turn.timeout_factor, claimed=turn.claimed
                            )
                        case Step.RETURN | Step.RENEW as step:
                            _land(flight, seen)
                            renews = step is Step.RENEW
                        case Step.COMPUTE:
                            turn.lead()
                            await self._compute(flight, lookup, mode, parents)
                        case step:
                            raise AssertionError(f"no flight does this: {step}")
        if renews:
            self._renew(lookup)

    async def _turn(self, flight: Flight, lookup: Lookup, mode: Mode) -> Turn:
        """Return the flight's turn with other processes, if it is theirs as well.

        While there may be purges that this process does not know, it is not: it could follow a flight that began before
        one of them.
        """
        shares = self._others is not None and lookup.leased and mode.reads
        if shares and self._view.due:
            await self._invalidation.settle()
        knows = self._view.trusted or self._view.covers(flight.launched)
        return Turn(self._others if shares and knows else None, flight, lookup.key)

    async def _follow(self, turn: Turn, flight: Flight, lookup: Lookup) -> None:
        ending = await turn.follow()
        if ending is None:
            return
        entry = await self._tiers.relayed(flight, lookup.key, ending, timeout_factor=turn.timeout_factor)
        if entry is not None:
            flight.finish(entry)

    async def _compute(self, flight: Flight, lookup: Lookup, mode: Mode, parents: Sequence[Answer]) -> None:
        started = time.perf_counter()
        made, parents = await self._made(flight, lookup, mode, parents)
        sources = [await each.result() for each in parents]
        entry = self._tiers.entry(lookup, made, flight, time.perf_counter() - started, sources)
        keep = Keep.NOWHERE if mode is Mode.NO_STORE else made.keep
        if lookup.scope is Scope.LOCAL and keep is Keep.EVERYWHERE:
            keep = Keep.MEMORY
        flight.keepable &= keep is not Keep.NOWHERE
        await self._tiers.keep(flight, entry, keep)

    async def _made(
        self, flight: Flight, lookup: Lookup, mode: Mode, parents: Sequence[Answer]
    ) -> tuple[Made, Sequence[Answer]]:
        """Return the computed value, and the answers that it is derived from."""
        if not lookup.parents:
            self._counts.add(Counter.FLIGHTS, FlightPart.LED)
            return await lookup.compute(flight), ()
        with ExitStack() as heard:
            with flight.queued():
                for parent in () if parents else lookup.parents:
                    answer = heard.enter_context(closing(await self._parent(parent, mode)))
                    parents = (*parents, answer)
            _credit(flight, parents)
            return await lookup.compute(flight, *parents), parents

    async def _parent(self, parent: Lookup, mode: Mode) -> Answer:
        """Answer with what a value is derived from; a store that does not have the one hardly has the other."""
        if not mode.reads:
            return await self.answer(parent)
        seen = await self._tiers.look(parent)
        if seen is UNKNOWN:
            seen = Seen(Found.UNLIKELY)
        return await self._answer(parent, mode, seen)


def _computing(under_way: Flight | None) -> Computing:
    if under_way is None:
        return Computing.NOBODY
    return Computing.RENEWING if under_way.renews else Computing.HERE


async def _begun(flight: Flight, wait: Wait, *, joined: bool = False) -> Answer:
    """Listen to a flight, and return once there is something to hear."""
    flight.listen()
    try:
        await wait(flight.begun())
    except BaseException:
        flight.leave()
        raise
    return Answer(Outcome.JOINED if joined else flight.outcome, flight.entry, flight, flight.tier)


def _serves(flight: Flight, lookup: Lookup, mode: Mode, now: float) -> bool:
    """Whether a flight that was joined answers this request: it may have found what was made before, or elsewhere."""
    if flight.outcome is Outcome.LED:
        return True
    if mode is Mode.NO_CACHE:
        return False
    return flight.entry is None or lookup.policy.accepts(flight.entry, now)


def _land(flight: Flight, seen: Seen) -> None:
    """End a flight with what another one has stored meanwhile."""
    assert seen.entry is not None
    if flight.outcome is Outcome.LED:  # and not one that followed another process
        flight.credit(seen.outcome, seen.tier)
    flight.finish(seen.entry)


def _credit(flight: Flight, parents: Sequence[Answer]) -> None:
    """Answer as what the value is derived from was answered: that is what costs."""
    costly = max(parents, key=lambda each: (each.outcome.computed, each.outcome is Outcome.STALE))
    flight.credit(costly.outcome, costly.tier)
    flight.source = None if costly.flight is None else costly.flight.landing
