"""Traces for OpenTelemetry: a span for each speech request, and within it the look-up, flight, engine and store.

Names and attributes hold digests and lengths, never a text; W3C Trace Context comes in with requests and goes out to
engines elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from sayonce._version import __version__
from sayonce.core.tracer import Attribute
from sayonce.errors import MissingExtra

try:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError:
    raise MissingExtra("tracing", "tracing") from None

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI = Callable[[Message, Receive, Send], Awaitable[None]]

_SERVER_ERROR: Final = 500
_HEADERS: Final = {b"cache-status": "sayonce.cache_status", b"x-sayonce-key": "sayonce.key"}


class OpenTelemetry:
    """A ``sayonce.core.tracer.Tracer`` over an OpenTelemetry provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("sayonce", __version__)
        self._context = TraceContextTextMapPropagator()

    def span(self, name: str, **attributes: Attribute) -> AbstractContextManager[None]:
        """Return a span within the trace under way; housekeeping, which is part of none, begins none."""
        if not get_current_span().get_span_context().is_valid:
            return nullcontext()
        return self._within(name, attributes)

    def headers(self) -> Mapping[str, str]:
        carrier: dict[str, str] = {}
        self._context.inject(carrier)
        return carrier

    def traced(self, app: ASGI) -> ASGI:
        """Return an ASGI application that makes a span of every request, within the client's trace if there is one."""

        async def call(scope: Message, receive: Receive, send: Send) -> None:
            carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            attributes = {"http.request.method": scope["method"], "url.path": scope["path"]}
            with self._tracer.start_as_current_span(
                f"{scope['method']} {scope['path']}",
                context=self._context.extract(carrier),
                kind=SpanKind.SERVER,
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                await app(scope, receive, _noting(span, send))

        return call

    def close(self) -> None:
        """Send the last spans; this may wait for the collector."""
        self._provider.shutdown()

    @contextmanager
    def _within(self, name: str, attributes: Mapping[str, Attribute]) -> Iterator[None]:
        named = {f"sayonce.{key}": value for key, value in attributes.items()}
        # An exception's message may quote a text, so only its type is told.
        with self._tracer.start_as_current_span(
            f"sayonce.{name}", attributes=named, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_status(StatusCode.ERROR, type(error).__name__)
                raise


def open_tracing(endpoint: str, *, service_name: str = "sayonce") -> OpenTelemetry:
    """Return a tracer that sends spans by OTLP over HTTP to a collector, such as ``http://localhost:4318``.

    Raises:
        MissingExtra: the exporter is not installed.

    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtra("tracing", "tracing") from None
    resource = Resource.create({"service.name": service_name, "service.version": __version__})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
    return OpenTelemetry(provider)


def _noting(span: Span, send: Send) -> Send:
    """Return a ``send`` that notes in the span how the request was answered."""

    async def note(message: Message) -> None:
        if message["type"] == "http.response.start":
            span.set_attribute("http.response.status_code", message["status"])
            for name, value in message["headers"]:
                if name in _HEADERS:
                    span.set_attribute(_HEADERS[name], value.decode("latin-1"))
            if message["status"] >= _SERVER_ERROR:
                span.set_status(StatusCode.ERROR)
        await send(message)

    return note
