"""Everything that a process counts: each counter has a name and labels, and a key that is never parsed."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from typing import Self


class Counter(StrEnum):
    """One thing that is counted.

    The value is the counter's name in a store's lasting totals, with a place for each label. ``labels`` says which
    labels its keys have, in this order; they are those of the metric that shows the counter.
    """

    labels: tuple[str, ...]

    def __new__(cls, name: str, *labels: str) -> Self:
        member = str.__new__(cls, name)
        member._value_ = name
        member.labels = labels
        return member

    ANSWERS = "{outcome}", "outcome"
    SAVED_SECONDS = "saved_seconds"  # of computing that reuse saved
    LEFT = "left"  # clients that did not wait for their answer
    REFUSED_REQUESTS = "refused requests"
    FLIGHTS = "flights: {part}", "part"
    RENEWALS = "renewals: {outcome}", "outcome"  # of values that are made anew in the background
    FAILED_READINGS = "view: readings failed"  # of what was purged elsewhere
    REFUSED_VALUES = "refused: {reason}", "reason"

    STORE_CALLS = "{part} calls: {operation}", "part", "operation"
    STORE_ERRORS = "{part} errors: {kind}", "part", "kind"
    STORE_SKIPPED = "{part} skipped", "part"
    STORE_WRITES_DROPPED = "{part} writes dropped", "part"

    SYNTHESES = "engine calls"  # of all engines
    COMPUTED_SECONDS = "engine seconds"  # of all takes that were finished
    ENGINE_CALLS = "engine calls: {engine}", "engine"
    ENGINE_FAILURES = "engine failures: {engine}", "engine"
    ENGINE_SECONDS = "engine seconds: {engine}", "engine"
    SILENT_TAKES = "silent takes: {engine}", "engine"
    VOICE_COPIES = "voice copies {outcome}: {engine}", "engine", "outcome"

    FEATURE_REQUESTS = "feature requests: {function}", "function"
    FEATURE_COMPUTATIONS = "feature computations: {function}", "function"

    def name_with(self, *labels: str) -> str:
        """Return the name in lasting totals of this counter with these labels."""
        return self.value.format(**dict(zip(self.labels, labels, strict=True)))


class Operation(StrEnum):
    """A call of the store, or of the bodies outside it; the values are labels of a metric."""

    GET = "get"
    PUT = "put"
    DELETE = "delete"
    FIND = "find"  # an entry, or the pointer to its body
    FETCH = "fetch"  # a body outside is read
    PLACE = "place"  # a body outside is written
    WRITE = "write"  # a pointer, or the record of a purge
    RESTORE = "restore"  # the record of a purge that the store has lost
    COUNT = "count"
    STATS = "stats"

    REGISTRY = "registry"  # all records of a table
    READ = "read"  # one record of a table, or those of computations
    SWAP = "swap"
    REFRESH = "refresh"  # what another instance has changed is read anew
    FETCH_REFERENCE = "stored_clip"  # the audio of an uploaded voice

    ACQUIRE = "acquire"
    RENEW = "renew"
    RELEASE = "release"
    PUBLISH = "publish"

    RESUME_LEDGER = "go_on_with"
    WRITE_LEDGER = "done"


class FlightPart(StrEnum):
    """The part that this process takes in a computation."""

    LED = "led"
    JOINED = "joined"
    FOLLOWED = "followed"  # another process computes it
    TAKEN_OVER = "taken over"  # the process that computed it is gone


class Renewal(StrEnum):
    """The end of a renewal in the background."""

    DONE = "done"
    FAILED = "failed"


class CopyOutcome(StrEnum):
    """The fate of an uploaded voice's copy at a server that keeps voices."""

    SENT = "sent"
    LOST = "lost"  # the server has forgotten it
    REMOVED = "removed"
    FAILED = "failed"


CountKey = tuple[Counter, *tuple[str, ...]]
"""A counter and its labels' values."""


class Counts(defaultdict[CountKey, float]):
    """The counters of one process since it started: numbers by key, 0 for what has not happened yet."""

    def __init__(self) -> None:
        super().__init__(float)

    def add(self, counter: Counter, *labels: str, number: float = 1) -> None:
        """Add to a counter."""
        self[counter, *labels] += number

    def by_name(self) -> defaultdict[str, float]:
        """Return a copy under the names of lasting totals."""
        return defaultdict(
            float, {counter.name_with(*labels): number for (counter, *labels), number in list(self.items())}
        )
