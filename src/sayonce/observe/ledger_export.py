"""The ledger as a bill is made from it: lines by day and account, as CSV or JSON."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import msgspec

from sayonce.errors import InvalidRequest
from sayonce.observe.ledger import Figures, Ledger, Owner, number_of
from sayonce.stores.base import Store

_USUAL_DAYS: Final = 31
_MAX_DAYS: Final = 3660
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class LedgerLine(msgspec.Struct, kw_only=True):
    """A day's figures of an account."""

    day: str
    tenant: str
    engine: str
    model: str
    voice: str
    requests: int
    hits: int
    joined: int
    compute_seconds: float
    saved_seconds: float
    cost: float
    saved_cost: float
    sent_bytes: int
    saved_bytes: int


def period(first: str | None, last: str | None, now: float) -> tuple[date, date]:
    """Read the first and the last day; by default the last 31 days.

    Raises:
        InvalidRequest: one is no day, or they are not in order.

    """
    end = _day("to", last) if last else datetime.fromtimestamp(now, UTC).date()
    begin = _day("from", first) if first else end - timedelta(days=_USUAL_DAYS - 1)
    if not 0 <= (end - begin).days < _MAX_DAYS:
        raise InvalidRequest(f"'from' must not be after 'to', and at most {_MAX_DAYS} days before it", param="from")
    return begin, end


async def lines(ledger: Ledger, store: Store | None, first: date, last: date) -> list[LedgerLine]:
    """Return the ledger's lines, the processes' figures added up.

    Raises:
        StoreError: the store did not answer.

    """
    found: list[LedgerLine] = []
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        accounts: defaultdict[Owner, Figures] = defaultdict(Figures)
        for part in await ledger.read(store, number_of(day)):
            for owner, figures in part.items():
                accounts[owner].add(figures)
        for owner, figures in sorted(accounts.items(), key=lambda account: account[0]):
            found.append(_line(day, owner, figures))
    return found


def _line(day: date, owner: Owner, figures: Figures) -> LedgerLine:
    tenant, engine, model, voice = owner
    return LedgerLine(
        day=day.isoformat(),
        tenant=tenant,
        engine=engine,
        model=model,
        voice=voice,
        **msgspec.structs.asdict(figures),
    )


def as_csv(found: Iterable[LedgerLine]) -> str:
    """Return lines as CSV (RFC 4180) with a header; a name that a spreadsheet would take for a formula is quoted."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(LedgerLine.__struct_fields__)
    for line in found:
        writer.writerow(map(_harmless, msgspec.structs.astuple(line)))
    return text.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"'{name}' must be a day such as 2026-01-31, not {text!r}", param=name) from None
