"""How long a server asks to be left alone."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from sayonce.core.clock import Clock

_NUMBER: Final = re.compile(r"\s*[0-9]{1,18}(?:\.[0-9]{0,18})?\s*")
_LONGEST_SECONDS: Final = 3600
_LONGEST_DATE: Final = 64


def retry_after_seconds(headers: Mapping[str, str], clock: Clock = time.time) -> int:
    """Return the whole seconds after which a server wants to be asked again; 0 for at once, or where it does not say.

    ``retry-after-ms`` is what OpenAI's servers say more exactly. ``Retry-After`` is a number of seconds, by some with a
    fraction, or a date (RFC 9110 section 10.2.3), which is measured from the server's own ``Date`` where there is one:
    two clocks seldom agree. More than an hour counts as one.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    told = headers.get("retry-after", "")
    seconds = _number(told)
    if seconds is None:
        then = _moment(told)
        seconds = 0 if then is None else then - (_moment(headers.get("date", "")) or clock())
    return _bounded(seconds)


def _number(told: str) -> float | None:
    return float(told) if _NUMBER.fullmatch(told) else None


def _moment(told: str) -> float | None:
    """Return a date in seconds since the Unix epoch, None where it is none."""
    try:
        return parsedate_to_datetime(told[:_LONGEST_DATE]).timestamp()
    except (ValueError, OverflowError):  # OverflowError: a year that no clock has
        return None


def _bounded(seconds: float) -> int:
    return max(0, min(math.ceil(seconds), _LONGEST_SECONDS))
