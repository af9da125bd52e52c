"""Traces: what happened within a request, without a word of it; nothing at all where none are wanted."""

import asyncio
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from sayonce.errors import EngineError
from sayonce.observe import tracing
from sayonce.speech.engines import build_engine
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak
from tests.helpers.upstream import Upstream

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
TEXT = "Not for the eyes of operators."


class Spans(InMemorySpanExporter):
    def named(self):
        return {span.name: span for span in self.get_finished_spans()}

    def names(self):
        return [span.name for span in self.get_finished_spans()]


@pytest.fixture
def spans(monkeypatch):
    """Have what is traced kept here instead of being sent."""
    exporter = Spans()

    def open_here(_, *, service_name):
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        return tracing.OpenTelemetry(provider)

    monkeypatch.setattr(tracing, "open_tracing", open_here)
    return exporter


@asynccontextmanager
async def traced(*engines, **options):
    async with serving(*engines, tracing__endpoint="http://127.0.0.1:1", **options) as client:
        yield client


async def test_a_miss_is_a_tree_of_spans_of_look_up_flight_engine_and_store(spans, tmp_path):
    async with traced(StubEngine(), store=f"sqlite:///{tmp_path}/clips.db") as client:
        answer = await speak(client, TEXT, headers=PARENT)
        await client.service.cache.settle()
        found = spans.named()
    assert {"POST /v1/audio/speech", "sayonce.lookup", "sayonce.flight", "sayonce.engine", "sayonce.store"} <= set(
        found
    )
    assert {format(span.context.trace_id, "032x") for span in found.values()} == {TRACE}
    request = found["POST /v1/audio/speech"]
    assert format(request.parent.span_id, "016x") == "b7ad6b7169203331"
    assert request.attributes["sayonce.key"] == answer.headers["x-sayonce-key"]
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["sayonce.cache_status"] == "sayonce; fwd=miss; stored"
    by_id = {span.context.span_id: span for span in spans.get_finished_spans()}
    assert by_id[found["sayonce.engine"].parent.span_id].name == "sayonce.flight"
    assert by_id[found["sayonce.flight"].parent.span_id].name in ("sayonce.flight", "POST /v1/audio/speech")


async def test_a_hit_in_memory_is_one_span_and_housekeeping_none(spans, tmp_path):
    async with traced(StubEngine(), store=f"sqlite:///{tmp_path}/clips.db") as client:
        await speak(client, TEXT)
        await client.service.cache.settle()
        spans.clear()
        await speak(client, TEXT)
        await client.service.cache._invalidation.read()
        assert spans.names() == ["POST /v1/audio/speech"]
    assert spans.names() == ["POST /v1/audio/speech"]


async def test_no_span_holds_a_text_also_when_it_fails(spans):
    engine = StubEngine()
    engine.failure = EngineError(f"cannot say {TEXT!r}")
    async with traced(engine) as client:
        assert (await speak(client, TEXT)).status_code == 502
    told = "".join(span.to_json() for span in spans.get_finished_spans())
    assert spans.named()["sayonce.engine"].status.description == "EngineError"
    assert not spans.named()["POST /v1/audio/speech"].status.is_ok
    assert "operators" not in told


async def test_the_trace_of_a_request_goes_on_at_the_engines_server(spans):
    with Upstream() as upstream:
        engine = build_engine("far", {"kind": "openai", "base_url": upstream.url, "model": "m"})
        async with traced(engine) as client:
            answer = await speak(client, TEXT, headers=PARENT, model="far")
            assert answer.status_code == 200
        version, trace, parent, _ = upstream.headers[0]["traceparent"].split("-")
    assert (version, trace) == ("00", TRACE)
    assert parent == format(spans.named()["sayonce.engine"].context.span_id, "016x")


async def test_without_a_collector_no_trace_header_is_passed_on(tmp_path):
    with Upstream() as upstream:
        engine = build_engine("far", {"kind": "openai", "base_url": upstream.url, "model": "m"})
        async with serving(engine) as client:
            await speak(client, TEXT, headers=PARENT, model="far")
        assert "traceparent" not in upstream.headers[0]


def test_opentelemetry_is_not_loaded_where_nothing_is_traced():
    program = (
        "import sys\n"
        "from sayonce.config import load_settings\n"
        "from sayonce.gateway.access import load_access\n"
        "from sayonce.gateway.app import Gateway\n"
        "from sayonce.service import Service\n"
        "from sayonce.testing import StubEngine\n"
        "settings = load_settings()\n"
        "Gateway(Service(settings, [StubEngine()]), load_access(settings))\n"
        "sys.exit(any(name.startswith(('opentelemetry', 'prometheus_client')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_tracing_without_its_extra_says_what_to_install():
    program = (
        "import sys; sys.modules['opentelemetry.sdk.trace'] = None\n"
        "from sayonce.errors import MissingExtra\n"
        "try:\n import sayonce.observe.tracing\n"
        "except MissingExtra as error:\n print(error)"
    )
    told = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert "pip install 'sayonce[tracing]'" in told.stdout, told.stderr


async def test_a_collector_gets_the_spans_by_otlp(tmp_path):
    received = ExportTraceServiceRequest()

    async def collect(request):
        received.MergeFromString(await request.body())
        return Response(b"", media_type="application/x-protobuf")

    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/v1/traces", collect, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    running = asyncio.create_task(server.serve([listener]))
    endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with serving(StubEngine(), tracing__endpoint=endpoint, tracing__service_name="speech") as client:
        await speak(client, TEXT, headers=PARENT)
    server.should_exit = True
    await running
    [resource] = received.resource_spans
    assert ("service.name", "speech") in [(each.key, each.value.string_value) for each in resource.resource.attributes]
    spans = [span for scope in resource.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert {"POST /v1/audio/speech", "sayonce.flight", "sayonce.engine"} <= {span.name for span in spans}
