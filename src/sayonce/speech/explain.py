"""Why does this request have this key: its document, and how another one differs from it, field by field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from sayonce.speech.plan import Plan
from sayonce.speech.synthesis import Synthesizer

_ABSENT = "(absent)"


class Difference(msgspec.Struct, frozen=True):
    """One field that makes two keys different."""

    field: str
    this: Any
    other: Any


def manifest(synthesizer: Synthesizer, plan: Plan) -> dict[str, Any]:
    """Return a request's keys, and the document that they are made from."""
    return {
        "key": plan.take_key.hex(),
        "clip_key": plan.clip_key.hex(),
        "format": plan.request.format.name,
        "sample_rate": plan.request.format.sample_rate_hz,
        "ignored": plan.request.ignored,
        "document": synthesizer.document(plan.request, plan.tenant),
    }


def differences(this: Any, other: Any, field: str = "") -> list[Difference]:
    """Return the fields in which two documents differ; empty exactly when they have equal keys."""
    if type(this) is dict and type(other) is dict:
        found: list[Difference] = []
        for name in sorted({*this, *other}):
            path = f"{field}.{name}" if field else name
            found += differences(this.get(name, _ABSENT), other.get(name, _ABSENT), path)
        return found
    if type(this) is type(other) and this == other:
        return []
    return [Difference(field, this, other)]


def nearest(document: dict[str, Any], candidates: Iterable[dict[str, Any]]) -> list[Difference] | None:
    """Return the differences to the candidate that has the fewest, or None when there is no candidate.

    Differences in the text alone come last among equals: another text is the least surprising reason for a miss.
    """
    found = [differences(document, candidate) for candidate in candidates]
    return min(found, key=lambda each: (len(each), any(one.field == "text" for one in each)), default=None)
