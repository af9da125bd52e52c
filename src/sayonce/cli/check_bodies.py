"""The checks of ``sayonce doctor`` on the body store."""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import msgspec

from sayonce.cli.findings import Finding, fail, ok, warn
from sayonce.cli.language import phrase
from sayonce.cli.output import seconds, size
from sayonce.config import BodiesSettings, Settings
from sayonce.core.key import Secret
from sayonce.errors import SayonceError, StoreError
from sayonce.service import build_blob_store
from sayonce.stores.url import SQLiteURL, parse_url

_LITTLE_ROOM: Final = 0.05
"""Of the disk."""


def without_bodies(settings: Settings) -> Settings:
    """Return the settings without bodies, so that the finding names the part that is in trouble."""
    return msgspec.structs.replace(settings, bodies=BodiesSettings())


async def check_bodies(settings: Settings) -> AsyncIterator[Finding]:
    """Check that bodies can be written, read and removed, and that no other store is in the way."""
    try:
        bodies = build_blob_store(settings, Secret())
        if bodies is None:
            return
        started = time.perf_counter()
        await bodies.check()
    except StoreError as error:
        yield fail("bodies", str(error), phrase("until this is mended, large clips are not remembered"))
        return
    except SayonceError as error:
        yield fail("bodies", error.message)
        return
    elapsed_seconds = time.perf_counter() - started
    message = phrase(
        "{address} is written to, read and cleared in {time}", address=bodies.shown, time=seconds(elapsed_seconds)
    )
    yield ok("bodies", message)
    for finding in _neighbours(settings, bodies.shown):
        yield finding


def _neighbours(settings: Settings, shown: str) -> Iterator[Finding]:
    directory = Path(shown)
    if not directory.is_absolute():
        if isinstance(parse_url(settings.store_url), SQLiteURL):
            message = phrase("the store is this machine's own, and the bodies are within reach of others")
            advice = phrase("name a prefix that no other store uses: sweeping removes what is not its own")
            yield warn("bodies", message, advice)
        return
    free, whole = shutil.disk_usage(directory).free, shutil.disk_usage(directory).total
    room = phrase("the disk has {free} free", free=size(free))
    advice = phrase("free some space, or lower bodies.max_bytes")
    yield ok("bodies", room) if free > _LITTLE_ROOM * whole else warn("bodies", room, advice)
    if directory.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield warn("bodies", phrase("other users have rights to the directory"), f"chmod 700 {directory}")
