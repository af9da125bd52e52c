"""The gateway as one ASGI application: the hot route first, everything else through Starlette."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match, Route

from sayonce.config import Settings, load_settings, workers_directory
from sayonce.errors import NotFound, SayonceError, quoted
from sayonce.gateway import openapi
from sayonce.gateway.access import Access, load_access
from sayonce.gateway.admin import Admin
from sayonce.gateway.dashboard import Dashboard
from sayonce.gateway.http import ASGI, Disconnected, Receive, Scope, Send, error_body, error_response, send_error
from sayonce.gateway.local import LocalOnly
from sayonce.gateway.metrics import Metrics
from sayonce.gateway.speech import SpeechEndpoint
from sayonce.gateway.voices import Voices
from sayonce.observe.observer import Observer
from sayonce.observe.trace import Recorder
from sayonce.observe.workers import Workers
from sayonce.speech.service import Service

if TYPE_CHECKING:
    from sayonce.observe.tracing import OpenTelemetry

SPEECH_PATH = "/v1/audio/speech"


class Gateway:
    """The ASGI application of a service."""

    def __init__(self, service: Service, access: Access) -> None:
        settings, server = service.settings, service.settings.server
        self._service = service
        self._access = access
        self._local = LocalOnly(server.hosts) if access.open else None
        self._trace = _recorder(service)
        self.observer = Observer(
            service.synthesizer,
            Workers(workers_directory()),
            log_hits=settings.log.hits,
            texts=settings.dashboard.texts,
        )
        self._speech: ASGI = SpeechEndpoint(
            service.synthesizer,
            access,
            self.observer,
            max_body_bytes=server.max_body_bytes,
            request_timeout_seconds=server.request_timeout.total_seconds(),
            trace=self._trace,
        )
        self._tracer = self._traced()
        self._others = Starlette(
            routes=[
                *Admin(service.synthesizer, access, server.max_body_bytes).routes(),
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._local is not None and scope["type"] == "http":
            try:
                self._local.check(scope)
            except SayonceError as error:
                self._service.cache.counters["refused requests"] += 1
                await send_error(send, error)
                return
        if scope["type"] == "http" and scope["path"] == SPEECH_PATH:
            if scope["method"] == "POST":
                await self._speech(scope, receive, send)
            else:
                await _not_allowed("POST")(scope, receive, send)
            return
        await self._others(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        with rereading(self._access.reload):
            async with self._service, self.observer, self._trace or nullcontext():
                yield
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)

    def _traced(self) -> OpenTelemetry | None:
        """Have requests traced, where a collector is configured."""
        tracing = self._service.settings.tracing
        if tracing.endpoint is None:
            return None
        from sayonce.observe.tracing import open_tracing  # noqa: PLC0415 (an extra)

        tracer = open_tracing(tracing.endpoint, service_name=tracing.service_name)
        self._speech = tracer.traced(self._speech)
        self._service.synthesizer.trace(tracer)
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


async def _on_disconnect(_: Request, error: Exception) -> Response:  # noqa: ARG001 (nobody is there to hear why)
    return Response(status_code=400)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """Answer what Starlette refuses by itself: a path that is unknown, and a method that a path does not take."""
    assert isinstance(error, HTTPException)
    if error.status_code == MethodNotAllowed.status:
        routes = [each for each in request.app.routes if each.matches(request.scope)[0] is not Match.NONE]
        return _not_allowed(*sorted(set().union(*(each.methods for each in routes))))
    path = quoted(request.scope["path"])
    return error_response(NotFound(f"there is no path {path}; /docs shows those that there are"))


def _not_allowed(*methods: str) -> Response:
    response = error_response(MethodNotAllowed(f"this path takes {', '.join(methods)}"))
    response.headers["allow"] = ", ".join(methods)
    return response


async def _on_bug(_: Request, error: Exception) -> Response:  # noqa: ARG001 (Starlette raises it again, and it is logged)
    return JSONResponse(error_body(SayonceError("internal error; the server's log has it")), 500)
