"""A lookup: the key of a value, how it is computed where nobody has it, and how it may be answered and kept."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from sayonce.cache.made import Lead
from sayonce.core.cache_control import DEFAULT, Policy


class Lookup(msgspec.Struct, frozen=True):
    """One value that is asked for.

    ``shared`` False is for what each process computes for itself, as it costs less than asking the others.
    """

    key: bytes
    lead: Lead
    ttl: timedelta
    policy: Policy = DEFAULT
    shared: bool = True
