"""``sayonce ledger``: print the savings ledger that the store has."""

from __future__ import annotations

import asyncio
import time

from sayonce.cli.output import data, data_json
from sayonce.cli.which_store import lasting
from sayonce.config import Settings
from sayonce.observe.ledger import Ledger
from sayonce.observe.ledger_export import LedgerLine, as_csv, lines, period
from sayonce.service import build_cache


def run(settings: Settings, *, first: str | None, last: str | None, as_json: bool) -> None:
    """Print the ledger's lines as CSV, or as JSON.

    Raises:
        InvalidRequest: a day is none.
        StoreError: the store did not answer.

    """
    lasting(settings)
    found = asyncio.run(_read(settings, first, last))
    if as_json:
        data_json(found)
    else:
        data(as_csv(found).rstrip())


async def _read(settings: Settings, first: str | None, last: str | None) -> list[LedgerLine]:
    days = period(first, last, time.time())
    async with build_cache(settings) as cache:
        return await lines(Ledger(cache.now), cache.store, *days)
