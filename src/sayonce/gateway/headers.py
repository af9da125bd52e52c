"""The headers of speech: how the request was answered, its key, and the fields that were left out."""

from __future__ import annotations

from typing import Final

from sayonce.cache import Answer, Lookup, saved_seconds
from sayonce.core.envelope import Entry
from sayonce.core.outcome import Outcome
from sayonce.gateway.http import Headers, lines_of
from sayonce.speech.plan import Plan


class KnownPlan:
    """The plan of a request, and the header of the stored clip that answered it last."""

    __slots__ = ("_lines", "_of", "lookup", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lookup: Lookup | None = None
        """What answers the plan where the request lets everything be stored, once it was a hit: it takes more memory than the
        plan, and most texts that are new are never asked for again."""
        self._of: tuple[str | None, float, int] | None = None
        self._lines = b""

    def lines(self, answer: Answer, entry: Entry, now: float, *, stored: bool) -> bytes:
        """Return the header for a whole clip as it is sent; that of a hit only grows older."""
        of = (answer.tier, entry.created, len(entry.body))
        if of != self._of or answer.outcome is not Outcome.HIT:
            length = (b"content-length", b"%d" % len(entry.body))
            if answer.outcome is not Outcome.HIT:
                return lines_of([*headers_now(self.plan, answer, now, stored=stored), length])
            lines = lines_of([*_headers(self.plan, answer), length])
            self._of, self._lines = of, lines
        return b"%bage: %b\r\n" % (self._lines, _age(answer, now))


def headers_now(plan: Plan, answer: Answer, now: float, media_type: bytes | None = None, *, stored: bool) -> Headers:
    """Return everything but ``Content-Length``, as it is at this moment."""
    headers = _headers(plan, answer, media_type, now, stored=stored)
    return [*headers, (b"age", _age(answer, now))] if answer.outcome.stored else headers


def _headers(
    plan: Plan, answer: Answer, media_type: bytes | None = None, now: float = 0.0, *, stored: bool = False
) -> Headers:
    """Everything but ``Content-Length`` and ``Age``; ``now`` is needed unless it is a hit."""
    entry = answer.known_entry
    headers: Headers = [
        (b"content-type", media_type or answer.media_type.encode()),
        (b"cache-status", _cache_status(answer, now, stored=stored)),
        (b"etag", _etag(plan, answer.created, whole=entry is not None)),
        (b"x-sayonce-key", plan.take_key.hex().encode()),
    ]
    if plan.request.ignored:
        headers.append((b"x-sayonce-ignored", plan.request.ignored.encode()))
    if entry is not None:
        headers.append((b"x-sayonce-compute-ms", b"%.1f" % (1000 * saved_seconds(entry))))
    return headers


def _age(answer: Answer, now: float) -> bytes:
    return b"%d" % max(0, now - answer.created)


def _etag(plan: Plan, created: float, *, whole: bool) -> bytes:
    """Name the clip by its key and the moment of its take; weak where a stream's header differs from the file's."""
    audio_format = plan.request.format
    tag = b'"%b-%x"' % (plan.clip_key[:16].hex().encode(), int(created * 1000))
    return tag if whole or audio_format.stable_stream else b"W/" + tag


def _cache_status(answer: Answer, now: float, *, stored: bool) -> bytes:
    """RFC 9211 section 2; the ``ttl`` of what is stale is below 0."""
    if answer.outcome.stored:
        hit, entry = b"sayonce; hit; detail=%b" % (answer.tier or "").encode(), answer.known_entry
        stale = answer.outcome is Outcome.STALE and entry is not None
        return b"%b; ttl=%d" % (hit, min(-1, entry.expires - now)) if stale and entry else hit
    if stored:
        return b"sayonce; fwd=miss; stored"
    return _FORWARDED[answer.outcome]


_FORWARDED: Final = {
    Outcome.LED: b"sayonce; fwd=miss",
    Outcome.JOINED: b"sayonce; fwd=miss; collapsed",
    Outcome.BYPASS: b"sayonce; fwd=bypass",
}
