"""The gateway as one ASGI application: the hot route first, everything else through Starlette."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Match, Route

from sayonce.config import Settings, load_settings, workers_directory
from sayonce.core.counters import Counter
from sayonce.errors import NotFound, SayonceError, Stopping, quoted
from sayonce.gateway import common_headers, openapi
from sayonce.gateway.access import Access, load_access
from sayonce.gateway.admin import Admin
from sayonce.gateway.connection import AnswerNow
from sayonce.gateway.cors import Cors
from sayonce.gateway.dashboard import Dashboard
from sayonce.gateway.http import (
    ASGI,
    BEGUN,
    Disconnected,
    Receive,
    Scope,
    Send,
    error_answer,
    error_response,
    headers_of,
    json_response,
    send_error,
)
from sayonce.gateway.local import LocalOnly
from sayonce.gateway.metrics import Metrics
from sayonce.gateway.models import Models
from sayonce.gateway.paths import DEPLOYMENT, SPEECH, as_written, corrected, deployment, nearest, serves
from sayonce.gateway.speech import SpeechEndpoint
from sayonce.gateway.voices import Voices
from sayonce.observe import request_id
from sayonce.observe.observer import Observer
from sayonce.observe.trace import Recorder
from sayonce.observe.workers import Workers
from sayonce.service import Service

if TYPE_CHECKING:
    from sayonce.observe.tracing import OpenTelemetry


class Gateway:
    """The ASGI application of a service."""

    def __init__(self, service: Service, access: Access) -> None:
        settings, server = service.settings, service.settings.server
        self.service = service
        self._access = access
        self._cors = Cors(server.origins) if server.origins else None
        self._local = LocalOnly(server.hosts, server.origins) if access.open else None
        self._trace = _recorder(service)
        self.observer = Observer(
            service.synthesizer,
            Workers(workers_directory()),
            log_hits=settings.log.hits,
            texts=settings.dashboard.texts,
        )
        speech = SpeechEndpoint(
            service.synthesizer,
            access,
            self.observer,
            max_body_bytes=server.max_body_bytes,
            request_timeout_seconds=server.request_timeout.total_seconds(),
            trace=self._trace,
        )
        self._speech: ASGI = speech
        self._tracer = self._traced()
        at_once = self._tracer is None and not settings.log.hits and settings.memory.max_bytes
        self._speech_now = speech.answer_now
        self.answer_now: AnswerNow | None = self._answer_now if at_once else None
        self._others = self._router()

    def _answer_now(self, scope: Scope, body: bytes, send: Send) -> bool:
        """Answer a known request for a clip in memory without a task, and return True; False for all others.

        Answers are neither logged nor traced here: that needs a task, whose context names the request.
        """
        if scope["path"] != SPEECH or scope["method"] != "POST":
            return False
        common_headers.begin(scope, self._cors)
        if self._local is not None:
            try:
                self._local.check(scope)
            except SayonceError:
                return False
        return self._speech_now(scope, body, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._others(scope, receive, send)
            return
        request_id.current.set(common_headers.begin(scope, self._cors))
        if self._local is not None:
            try:
                self._local.check(scope)
            except SayonceError as error:
                self.service.cache.counts.add(Counter.REFUSED_REQUESTS)
                await send_error(common_headers.completed(scope, send), error)
                return
        if scope["path"] != SPEECH:
            _correct(scope, self._others.routes)
        if scope["path"] == SPEECH and scope["method"] == "POST":
            await self._speech(scope, receive, send)
            return
        answer = self._options if scope["method"] == "OPTIONS" else self._others
        sending = common_headers.completed(scope, send)
        try:
            await answer(scope, receive, sending)
        except asyncio.CancelledError:  # by the server alone, as it ends
            if BEGUN not in scope:
                await send_error(sending, Stopping())

    def _router(self) -> Starlette:
        """Return the application of all routes; speech is in it for its methods, and is reached without it."""
        service, access = self.service, self._access
        router = Starlette(
            routes=[
                Route(SPEECH, self._speech, methods=["POST"]),
                *Models(service.synthesizer.catalogue, access).routes(),
                *Admin(service.synthesizer, access, service.settings.server.max_body_bytes).routes(),
                *Voices(service.synthesizer, access).routes(),
                *Metrics(self.observer, service.cache, access).routes(),
                *Dashboard(service.synthesizer, self.observer, access).routes(),
                *_documents(),
            ],
            exception_handlers={
                SayonceError: _on_error, HTTPException: _on_http_error,
                Disconnected: _on_disconnect, Exception: _on_bug,
            },
            lifespan=self._lifespan,
        )  # fmt: skip
        router.router.redirect_slashes = False
        return router

    async def _options(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell the methods of a path, also to a web page that asks before it sends its key."""
        methods = _methods(self._others.routes, scope)
        if not methods:
            await self._others(scope, receive, send)
            return
        told = [(b"allow", ", ".join(methods).encode())]
        if self._cors is not None:
            told += self._cors.preflight(headers_of(scope), methods)
        await send({"type": "http.response.start", "status": 204, "headers": told})
        await send({"type": "http.response.body", "body": b""})

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        with rereading(self._access.reload):
            async with self.service, self.observer, self._trace or nullcontext():
                yield
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)

    def _traced(self) -> OpenTelemetry | None:
        """Have requests traced, where a collector is configured."""
        tracing = self.service.settings.tracing
        if tracing.endpoint is None:
            return None
        from sayonce.observe.tracing import open_tracing  # noqa: PLC0415 (an extra)

        tracer = open_tracing(tracing.endpoint, service_name=tracing.service_name)
        self._speech = tracer.traced(self._speech)
        self.service.synthesizer.trace(tracer)
        return tracer


class MethodNotAllowed(SayonceError):
    status = 405
    kind = "invalid_request_error"
    code = "method_not_allowed"


def create_app(settings: Settings | None = None) -> Gateway:
    """Build the application from settings, by default from the file and the environment.

    Raises:
        ConfigError: something in the settings is wrong.

    """
    settings = settings or load_settings()
    access = load_access(settings)
    return Gateway(Service(settings), access)


def _recorder(service: Service) -> Recorder | None:
    trace = service.settings.trace
    return None if trace.file is None else Recorder(trace.file, int(trace.max_bytes), service.cache.now)


@contextmanager
def rereading(reread: Callable[[], None]) -> Iterator[None]:
    """Call a function, beside the event loop, at each SIGHUP; one that came while it was blocked, before the start, counts."""
    if threading.current_thread() is not threading.main_thread():  # only there are signals heard
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, loop.run_in_executor, None, reread)
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        loop.remove_signal_handler(signal.SIGHUP)


def _documents() -> list[Route]:
    async def description(_: Request) -> Response:
        return Response(openapi.document(), media_type="application/json")

    async def page(_: Request) -> Response:
        return HTMLResponse(openapi.page())

    return [Route("/openapi.json", description), Route("/docs", page)]


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, SayonceError)
    return error_response(error)


async def _on_disconnect(_: Request, error: Exception) -> Response:  # noqa: ARG001 (the client has left)
    return Response(status_code=400)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """Answer a request that Starlette refuses: for an unknown path, or by a method that the path does not take."""
    assert isinstance(error, HTTPException)
    if error.status_code == MethodNotAllowed.status:
        allowed = ", ".join(_methods(request.app.routes, request.scope))
        response = error_response(MethodNotAllowed(f"this path takes {allowed}"))
        response.headers["allow"] = allowed
        return response
    path = request.scope["path"]
    right = _right_address(request.app.routes, request.scope)
    told = "/docs shows those that there are" if right is None else f"the right address is {quoted(right)}"
    return error_response(NotFound(f"there is no path {quoted(path)}; {told}"))


def _correct(scope: Scope, routes: Iterable[BaseRoute]) -> None:
    """Serve a request at nearly the right address where that is safe."""
    path = scope["path"]
    if (model := deployment(path)) is not None:
        scope["path"], scope[DEPLOYMENT] = SPEECH, model
    elif serves(scope["method"], right := corrected(path)):
        scope["path"] = right
    elif b"%" in scope["raw_path"]:
        named = [each.path.partition("{")[0] for each in routes if isinstance(each, Route) and "{" in each.path]
        scope["path"] = as_written(path, scope["raw_path"], named)


def _methods(routes: Iterable[BaseRoute], scope: Scope) -> list[str]:
    """Return the methods that a path takes; none where there is no such path."""
    taken = set().union(*(each.methods or () for each in _matching(routes, scope)))
    return sorted({*taken, "OPTIONS"}) if taken else []


def _right_address(routes: Iterable[BaseRoute], scope: Scope) -> str | None:
    """Return the path that was meant by one that there is not."""
    routes = list(routes)
    right = corrected(unquote(scope["path"]))
    if right != "/" and _matching(routes, {**scope, "path": right}):
        return right
    return nearest(scope["path"], [each.path for each in routes if isinstance(each, Route) and "{" not in each.path])


def _matching(routes: Iterable[BaseRoute], scope: Scope) -> list[Route]:
    return [each for each in routes if isinstance(each, Route) and each.matches(scope)[0] is not Match.NONE]


async def _on_bug(_: Request, error: Exception) -> Response:  # noqa: ARG001 (Starlette raises it again, and it is logged)
    return json_response(error_answer(SayonceError("internal error; the server's log has it")), 500)
