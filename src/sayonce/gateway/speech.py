"""``POST /v1/audio/speech``: authorise → parse → key → answer; a known request for a clip in memory at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from typing import Any, Final

import msgspec

from sayonce.cache import Answer, Cache
from sayonce.core.cache_control import DEFAULT, Policy, parse_cache_control
from sayonce.core.counters import Counter
from sayonce.core.outcome import Outcome
from sayonce.errors import CallerError, EngineTimeout, SayonceError, Stopping
from sayonce.gateway import sse
from sayonce.gateway.access import Access
from sayonce.gateway.common_headers import common_headers, common_lines, completed, naming
from sayonce.gateway.connection import AT_ONCE, HELD, Held
from sayonce.gateway.headers import KnownPlan, headers_now
from sayonce.gateway.http import (
    BEGUN,
    Disconnected,
    Headers,
    Receive,
    Scope,
    Send,
    as_sayonce_error,
    check_json,
    headers_of,
    read_body,
    send_error,
    send_whole,
    while_connected,
)
from sayonce.gateway.paths import DEPLOYMENT
from sayonce.gateway.plans import Plans
from sayonce.observe.observer import Observer
from sayonce.observe.trace import Recorder
from sayonce.speech.plan import Plan
from sayonce.speech.request import parse_json
from sayonce.speech.synthesis import Synthesizer

log = logging.getLogger("sayonce.gateway")

_SLICE_BYTES: Final = 65_536
"""The bytes that a stream sends at once, well within a millisecond."""

_UNBUFFERED: Final = (b"x-accel-buffering", b"no")
"""Has nginx pass a stream on as it comes."""
_NOT_PLAIN: Final = frozenset((b"cache-control", b"content-encoding", b"transfer-encoding"))
"""Headers by which a request asks for more than a clip from memory, or comes in a form that is to be checked."""


class SpeechEndpoint:
    """The route of speech, as a plain ASGI application."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        access: Access,
        observer: Observer,
        *,
        max_body_bytes: int,
        request_timeout_seconds: float,
        trace: Recorder | None = None,
    ) -> None:
        self._observer = observer
        self._synthesizer = synthesizer
        self._cache: Cache = synthesizer.cache
        self._access = access
        self._max_body_bytes = max_body_bytes
        self._timeout_seconds = request_timeout_seconds
        self._trace = trace
        self._plans = Plans(synthesizer)
        self._turn = asyncio.Lock()

    def answer_now(self, scope: Scope, body: bytes, send: Send) -> bool:
        """Answer a known request whose clip is in memory, and return True; False for all others, also those to be refused."""
        started = time.perf_counter()
        try:
            known = self._known_now(scope, body)
            entry = None if known is None or known.plan.request.sse else self._synthesizer.peek(known.plan)
            if known is None or entry is None:
                return False
            answer = Answer(Outcome.HIT, entry, tier=self._cache.memory.name)
            lines = known.lines(answer, entry, self._cache.now(), stored=False)
            if not scope[AT_ONCE](send, lines + common_lines(scope), entry.body):
                return False
        except SayonceError:
            return False
        except Exception as error:  # noqa: BLE001 (a bug of ours must not keep the usual way from answering)
            with naming(scope):
                log.warning("a hit could not be answered at once: %r", error)
            return False
        try:
            self._note(known.plan, answer, started)
        except Exception as error:  # noqa: BLE001 (the client has its answer)
            with naming(scope):
                self._failed(as_sayonce_error(error), started, known.plan)
        return True

    def _known_now(self, scope: Scope, body: bytes) -> KnownPlan | None:
        """Return the plan of an authorised, plain request, where it is known and what is known of purges is new."""
        headers = headers_of(scope)
        if not headers.keys().isdisjoint(_NOT_PLAIN) or not self._cache.view.fresh:
            return None
        client = self._access.authorise(scope["headers"])
        check_json(headers, declared=self._access.open)
        return self._plans.known(body, client.tenant)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, plan = time.perf_counter(), None
        try:
            client = self._access.authorise(scope["headers"])
            headers = headers_of(scope)
            check_json(headers, declared=self._access.open)
            control = headers.get(b"cache-control")
            policy = DEFAULT if control is None else parse_cache_control(control.decode("latin-1"))
            body = await read_body(headers, receive, self._max_body_bytes)
            if DEPLOYMENT in scope:
                body = msgspec.json.encode(parse_json(body) | {"model": scope[DEPLOYMENT]})
            if not self._cache.view.fresh:
                await self._cache.settle_view()
            known = await self._plans.of(body, client.tenant)
            plan = known.plan
            if plan.request.names_unknown_voice and not (policy is DEFAULT and self._synthesizer.peek(plan)):
                known = await self._plans.with_newest_voices(body, client.tenant)
                plan = known.plan
            answer = await self._answer(known, policy, receive)
            sending = self._send(scope, send, known, answer)
            heard_alone = policy.no_store or (answer.known_entry is None and _is_whole(scope, plan))
            begun = await (_while_heard(sending, answer, receive) if heard_alone else sending)
            self._note(plan, answer, started, begun)
        except Disconnected:
            self._cache.counts.add(Counter.LEFT)
            self._observer.left()
        except asyncio.CancelledError:  # by the server alone, as it ends
            await self._fail(scope, send, Stopping(), started, plan)
        except SayonceError as error:
            await self._fail(scope, send, error, started, plan)
        except Exception as error:  # noqa: BLE001 (a bug of ours is answered too, in the API's form)
            await self._fail(scope, send, as_sayonce_error(error), started, plan)

    def _note(self, plan: Plan, answer: Answer, started: float, begun: float = 0.0) -> None:
        self._observer.answered(plan, answer, started, begun)
        if self._trace is not None and answer.known_entry is not None:
            self._trace.note(plan, answer.outcome, answer.known_entry)

    async def _fail(self, scope: Scope, send: Send, error: SayonceError, started: float, plan: Plan | None) -> None:
        """Answer with an error, or leave the answer that has begun unfinished: the server then cuts the connection."""
        begun = BEGUN in scope
        if not begun:
            await send_error(completed(scope, send), error)
        if isinstance(error, CallerError) and not begun:
            self._cache.counts.add(Counter.REFUSED_REQUESTS)
            self._observer.failed(error, started, plan)
        else:
            self._failed(error, started, plan)

    def _failed(self, error: SayonceError, started: float, plan: Plan | None) -> None:
        self._cache.record(Outcome.FAILED)
        self._observer.failed(error, started, plan)

    async def _answer(self, known: KnownPlan, policy: Policy, receive: Receive) -> Answer:
        """Answer from the store within its budget, or else compute while the client waits.

        Raises:
            Disconnected: the client left; its turn in an engine's queue is freed, unless other clients wait with it.

        """
        lookup = known.lookup
        if lookup is None or policy is not DEFAULT:
            lookup = self._synthesizer.lookup(known.plan, policy)
        answer = await self._cache.answer(lookup, partial(self._while_wanted, receive))
        if answer.outcome is Outcome.HIT and policy is DEFAULT:
            known.lookup = lookup
        return answer

    async def _while_wanted(self, receive: Receive, begun: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await while_connected(begun, receive)
        except TimeoutError:
            limit = f"{self._timeout_seconds:g} s, the limit set by server.request_timeout"
            raise EngineTimeout(f"nothing could be heard within {limit}") from None

    async def _send(self, scope: Scope, send: Send, known: KnownPlan, answer: Answer) -> float:
        """Send the clip and return when its first bytes were sent, if it streamed."""
        plan, now = known.plan, self._cache.now()
        if plan.request.sse:
            return await self._send_events(scope, send, plan, answer)
        if answer.known_entry is None and not _is_whole(scope, plan):
            assert answer.flight is not None
            headers = headers_now(plan, answer, now, stored=await self._cache.stored(answer))
            return await _send_stream(scope, send, answer, headers, answer.flight.chunks())
        entry = await answer.result()
        stored = answer.outcome is Outcome.LED and await self._cache.stored(answer)
        at_once, lines = scope.get(AT_ONCE), known.lines(answer, entry, now, stored=stored)
        scope[BEGUN] = True
        if at_once is None or not at_once(send, lines + common_lines(scope), entry.body):
            headers = headers_now(plan, answer, now, stored=stored)
            await send_whole(send, 200, [*headers, *common_headers(scope)], entry.body)
        return 0.0

    async def _send_events(self, scope: Scope, send: Send, plan: Plan, answer: Answer) -> float:
        """Send the clip as events: as it is made, or, where the whole is asked for, with their length."""
        entry = await answer.result() if plan.request.whole else answer.known_entry
        answer = msgspec.structs.replace(answer, entry=entry)
        stored = await self._cache.stored(answer)
        headers = headers_now(plan, answer, self._cache.now(), sse.MEDIA_TYPE, stored=stored)
        if entry is not None:
            headers.append((b"content-length", b"%d" % sse.length(entry.body)))
        return await _send_stream(scope, send, answer, headers, sse.events(answer), self._turn)


def _is_whole(scope: Scope, plan: Plan) -> bool:
    """Whether a clip that is still made is sent once it is whole.

    A client of HTTP/1.0 cannot tell a broken stream from a whole one, so it gets the length first.
    """
    return plan.request.whole or (scope.get("http_version") == "1.0" and not plan.request.sse)


async def _while_heard(sending: Coroutine[Any, Any, float], answer: Answer, receive: Receive) -> float:
    """Send an answer that is made for this client alone: when it leaves, the engine stops.

    Raises:
        Disconnected: it left.

    """
    with closing(answer):
        return await while_connected(sending, receive)


@contextmanager
def _holding(scope: Scope, answer: Answer) -> Iterator[None]:
    """Tell the connection the memory that a streamed answer holds, in case its client does not read."""
    held: Held = scope.get(HELD) or Held()
    flight, entry = answer.flight, answer.entry
    if flight is not None:
        held.of, held.count = flight, flight.held_bytes
    elif entry is not None:
        held.of, held.count = entry.body, entry.body.__len__
    try:
        yield
    finally:
        held.of = held.count = None


async def _send_stream(
    scope: Scope,
    send: Send,
    answer: Answer,
    headers: Headers,
    chunks: AsyncIterator[bytes],
    turn: asyncio.Lock | None = None,
) -> float:
    """Send chunks as they come, and return when the first was sent.

    The system takes megabytes off our hands without a pause, so a stream leaves the event loop to others after each
    slice. Of those that cost much to make, which share a ``turn``, one goes on in a round of the loop.
    """
    begun, slice_bytes = 0.0, 0
    headers = [*headers, *common_headers(scope), _UNBUFFERED]
    scope[BEGUN] = True
    with _holding(scope, answer):
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            begun = begun or time.perf_counter()
            slice_bytes += len(chunk)
            if slice_bytes >= _SLICE_BYTES:
                slice_bytes = 0
                async with turn or nullcontext():
                    await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})
    return begun
