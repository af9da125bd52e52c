"""Where a trace may be told what happens: nowhere, until a tracer is given."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Attribute = str | int | float | bool


class Tracer(Protocol):
    """A tracer; ``sayonce.observe.tracing`` has one for OpenTelemetry."""

    def span(self, name: str, **attributes: Attribute) -> AbstractContextManager[None]:
        """Return a context that is a span of the trace under way, or nothing when there is none."""

    def headers(self) -> Mapping[str, str]:
        """Return the headers that hand the trace under way on to another server (W3C Trace Context)."""


class NoTracer:
    """Traces nothing."""

    _nothing = nullcontext()

    def span(self, name: str, **attributes: Attribute) -> AbstractContextManager[None]:  # noqa: ARG002
        return self._nothing

    def headers(self) -> Mapping[str, str]:
        return {}
