"""What happens next to a lookup: a pure table of what was found, by what the request allows, by who computes.

A request passes through it until it is answered or has a flight to wait for; a flight passes through it until it has
landed. The loops that do what it says are in ``cache/road.py``.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from itertools import product
from typing import Final

from sayonce.core.cache_control import DEFAULT, Policy


class Found(IntEnum):
    """What was found of the value so far."""

    UNKNOWN = 0  # it is not in memory, and the store was not asked
    UNLIKELY = 1  # the same, of what is hardly there: that from which something is derived that is not there
    NOTHING = 2  # it is nowhere, or may not answer
    UNDERIVED = 3  # the same, and what it is derived from was not looked up
    PARENTS = 4  # all that it is derived from
    STALE = 5  # it is past its time to live, and kept for longer
    VALUE = 6


class Mode(IntEnum):
    """What a request allows."""

    USUAL = 0  # what is stored answers, and else it is computed
    ONLY_STORED = 1  # only-if-cached
    RENEWAL = 2  # no request: what is stale is made anew
    NO_CACHE = 3  # it is computed anew, and kept
    NO_STORE = 4  # it is computed for this request alone
    NEVER = 5  # only what is stored may answer, and nothing that is stored may

    @classmethod
    def of(cls, policy: Policy) -> Mode:
        """Return what a policy allows."""
        if policy is DEFAULT:
            return _USUAL
        if policy.reads:
            return cls.ONLY_STORED if policy.only_if_cached else cls.USUAL
        if policy.only_if_cached:
            return cls.NEVER
        return cls.NO_STORE if policy.no_store else cls.NO_CACHE

    @property
    def reads(self) -> bool:
        """Whether something stored may answer."""
        return self <= _RENEWAL


_USUAL: Final = Mode.USUAL
_RENEWAL: Final = Mode.RENEWAL
"""Looked up once: up to Python 3.11 a member of an enum costs more than a call, and every hit needs these."""


class Computing(IntEnum):
    """Who computes the value: as a request sees it, and as a flight does."""

    NOBODY = 0  # in this process
    HERE = 1  # a flight of this process, which may be joined
    RENEWING = 2  # one that makes anew what is stale

    UNDECIDED = 3  # this flight or another process: the lease tells
    ELSEWHERE = 4  # another process, which has the lease
    LEASED = 5  # this flight, which has the lease
    ALONE = 6  # this flight, without a lease: others are not asked, or do not answer


class Step(StrEnum):
    """What to do next."""

    RETURN = "return what was found"
    RENEW = "return what was found, and launch a flight that makes it anew"
    ASK_STORE = "ask the store"
    FIND_PARENTS = "look up what it is derived from"
    JOIN = "join the flight"
    LAUNCH = "launch a flight"
    RAISE = "raise: nothing is stored, and nothing may be computed"

    ACQUIRE = "acquire the lease"
    FOLLOW = "follow the process that has the lease"
    COMPUTE = "compute"


_ANY_FOUND: Final = tuple(Found)
_ANY_MODE: Final = tuple(Mode)
_UNASKED: Final = (Found.UNKNOWN, Found.UNLIKELY)
_STORED: Final = (Mode.USUAL, Mode.ONLY_STORED)
_JOINS: Final = (Mode.USUAL, Mode.RENEWAL, Mode.NO_CACHE)
_SHARES: Final = (Mode.USUAL, Mode.RENEWAL)
_UNDER_WAY: Final = (Computing.HERE, Computing.RENEWING)
_REQUEST: Final = (Computing.NOBODY, *_UNDER_WAY)
_FLIGHT: Final = tuple(each for each in Computing if each not in _REQUEST)

RULES: Final = (
    # A request. While a value is computed here the store does not have it yet, unless it is being made anew.
    (_ANY_FOUND, (Mode.NEVER,), tuple(Computing), Step.RAISE),
    ((Found.VALUE,), (*_STORED, Mode.RENEWAL), _REQUEST, Step.RETURN),
    ((Found.STALE,), (Mode.USUAL,), (Computing.NOBODY,), Step.RENEW),
    ((Found.STALE,), _STORED, _REQUEST, Step.RETURN),
    (_UNASKED, (Mode.ONLY_STORED,), _REQUEST, Step.ASK_STORE),
    ((Found.UNDERIVED,), (Mode.ONLY_STORED,), _REQUEST, Step.FIND_PARENTS),
    ((Found.NOTHING,), (Mode.ONLY_STORED,), _REQUEST, Step.RAISE),
    ((Found.UNKNOWN,), (Mode.USUAL,), (Computing.NOBODY,), Step.ASK_STORE),
    (_UNASKED, (Mode.USUAL,), (Computing.RENEWING,), Step.ASK_STORE),
    (_ANY_FOUND, _JOINS, _UNDER_WAY, Step.JOIN),
    ((Found.PARENTS,), (Mode.ONLY_STORED,), _UNDER_WAY, Step.JOIN),
    (_ANY_FOUND, _ANY_MODE, _REQUEST, Step.LAUNCH),
    # A flight. What another one has stored since the request looked is found under the lease, and whoever has the lease.
    (_ANY_FOUND, (Mode.ONLY_STORED,), _FLIGHT, Step.RAISE),
    ((Found.VALUE,), _SHARES, _FLIGHT, Step.RETURN),
    ((Found.STALE,), (Mode.USUAL,), _FLIGHT, Step.RENEW),
    (_ANY_FOUND, _SHARES, (Computing.UNDECIDED,), Step.ACQUIRE),
    (_UNASKED, _SHARES, (Computing.ELSEWHERE, Computing.LEASED, Computing.ALONE), Step.ASK_STORE),
    (_ANY_FOUND, _SHARES, (Computing.ELSEWHERE,), Step.FOLLOW),
    (_ANY_FOUND, _ANY_MODE, _FLIGHT, Step.COMPUTE),
)
"""The table in short: the first rule that fits decides."""


def _table() -> list[list[list[Step]]]:
    def decided(row: tuple[Found, Mode, Computing]) -> Step:
        return next(
            step for *allowed, step in RULES if all(each in some for each, some in zip(row, allowed, strict=True))
        )

    steps = {row: decided(row) for row in product(Found, Mode, Computing)}
    return [[[steps[found, mode, who] for who in Computing] for mode in Mode] for found in Found]


_TABLE: Final = _table()


def decide(found: Found, mode: Mode, computing: Computing) -> Step:
    """Return what to do next."""
    return _TABLE[found][mode][computing]
