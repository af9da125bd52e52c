"""Large bodies beside the index: in local files, S3, Google Cloud Storage or Azure, through one library.

A body's name is the hour in which it was written and a keyed digest of its bytes, so the name tells nothing of the
text, and equal bodies of an hour are kept once. A body never changes, and nothing new ever points to one of an hour
that is over: a body that nothing points to then can be removed while others write (``stores.blobs.sweep``).
"""

from __future__ import annotations

import asyncio
import errno
import re
import secrets
import struct
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec
import obstore
from obstore import exceptions

from sayonce.core.clock import Clock
from sayonce.core.envelope import Refused
from sayonce.core.key import Secret
from sayonce.core.outcome import Refusal
from sayonce.errors import Failure, StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

DEFAULT_INLINE_MAX_BYTES: Final = 65_536
DEFAULT_BUDGET_SECONDS: Final = 0.25
HOUR_SECONDS: Final = 3600

_ADDRESS: Final = struct.Struct(">I32s")
_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d)/([0-9a-f]{64})")
_HOUR_FORMAT: Final = "%Y-%m-%dT%H"
_DIGESTED_AT_ONCE: Final = 1_000_000
"""Bytes whose digest holds the event loop up for a millisecond; longer bodies are digested in a thread."""
_CHECK_SECONDS: Final = 5.0
_LISTED_AT_ONCE: Final = 250
"""So few that looking through them does not hold the event loop up."""
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")


class Body(msgspec.Struct, frozen=True):
    """A body as it is listed."""

    name: str
    address: bytes
    size_bytes: int

    @property
    def hour(self) -> int:
        return hour_of(self.address)


class Sweeps(msgspec.Struct):
    """The figures of the sweeps of this process."""

    done: int = 0
    failed: int = 0
    withheld: int = 0
    """Those that found something to remove and nothing that points here, as when the index is the wrong one."""
    removed: int = 0
    removed_bytes: int = 0
    last: float | None = None
    """When the last one that was done ended, in seconds since the Unix epoch."""


class BlobStore:
    """A body store; methods raise ``StoreError`` when it does not answer.

    ``inline_max_bytes`` is the largest body that stays in its envelope, ``budget_seconds`` how long a read or a write
    may take, besides the time that its bytes take. ``shown`` names the directory or the bucket to people.
    """

    name = "bodies"

    def __init__(
        self,
        store: ObjectStore,
        shown: str,
        *,
        secret: Secret,
        clock: Clock = time.time,
        inline_max_bytes: int = DEFAULT_INLINE_MAX_BYTES,
        budget_seconds: float = DEFAULT_BUDGET_SECONDS,
    ) -> None:
        self.shown = shown
        self.budget_seconds = budget_seconds
        self.clock = clock
        self.sweeps = Sweeps()
        self._store = store
        self._key = secret.body_key
        self._inline_max_bytes = inline_max_bytes

    def __repr__(self) -> str:
        return f"BlobStore({self.shown!r})"

    def takes(self, body_bytes: int) -> bool:
        return body_bytes > self._inline_max_bytes

    async def put(self, body: bytes) -> bytes:
        """Keep a body and return its address."""
        address = _ADDRESS.pack(int(self.clock() // HOUR_SECONDS), await self._digest(body))
        # One that exists is equal; if it is damaged, the next reader removes it.
        with self._translated(writing=True), suppress(exceptions.AlreadyExistsError):
            await obstore.put_async(self._store, name_of(address), body, mode="create", use_multipart=False)
        return address

    async def get(self, address: bytes, body_bytes: int) -> bytes:
        """Return the body at an address.

        Raises:
            Refused: it is not there, or is another one, which is then removed to make room for the right one.

        """
        with self._translated():
            try:
                found = await obstore.get_async(self._store, name_of(address))
            except FileNotFoundError as error:
                if _code(error) in _NO_BUCKET:
                    raise
                raise Refused(Refusal.LOST) from None
            # The length first, so that nobody makes us read more than we wrote.
            if found.meta["size"] == body_bytes:
                body = bytes(await found.bytes_async())
                if await self._digest(body) == _ADDRESS.unpack(address)[1]:
                    return body
        with suppress(StoreError):  # without the right to write it stays where it is
            await self.remove([name_of(address)])
        raise Refused(Refusal.ALTERED)

    async def list(self) -> AsyncIterator[list[Body]]:
        """Yield all bodies, many at a time; other objects are passed over."""
        pages = obstore.list(self._store, chunk_size=_LISTED_AT_ONCE)
        while True:
            with self._translated():
                page = await anext(pages, None)
            if page is None:
                return
            yield [Body(meta["path"], address, meta["size"]) for meta in page if (address := address_of(meta["path"]))]

    async def remove(self, names: Sequence[str]) -> None:
        """Remove the bodies that exist of these."""
        with self._translated():
            try:
                await obstore.delete_async(self._store, names)
            except FileNotFoundError:  # some stores mind, and may have stopped there
                if len(names) > 1:
                    for name in names:
                        await self.remove([name])

    async def look(self) -> None:
        """Ask for a body that cannot be there, to find out whether the store answers."""
        with suppress(Refused):
            await self.get(_ADDRESS.pack(0, secrets.token_bytes(32)), 0)

    async def check(self) -> None:
        """Write, read and remove a small object.

        Raises:
            StoreError: naming the mistake or the trouble.

        """
        name = f".sayonce-{secrets.token_hex(8)}"
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                with self._translated():
                    await obstore.put_async(self._store, name, b"sayonce", mode="create", use_multipart=False)
                    await (await obstore.get_async(self._store, name)).bytes_async()
                    await obstore.delete_async(self._store, name)
        except TimeoutError:
            message = f"{self.shown}: no answer within {_CHECK_SECONDS:g} s; is it reachable, with credentials set?"
            raise StoreError(message, failure=Failure.TIMEOUT) from None

    async def _digest(self, body: bytes) -> bytes:
        if len(body) <= _DIGESTED_AT_ONCE:
            return _digest(body, self._key)
        return await asyncio.to_thread(_digest, body, self._key)

    @contextmanager
    def _translated(self, *, writing: bool = False) -> Iterator[None]:
        """Turn everything that the library raises into a StoreError, without the pages of text that it may hold."""
        try:
            yield
        except (exceptions.BaseError, FileNotFoundError, NotImplementedError) as error:
            raise StoreError(f"{self.shown}: {_message(error)}", failure=_kind(error, writing=writing)) from None


def _digest(body: bytes, key: bytes) -> bytes:
    return blake2b(body, digest_size=32, key=key).digest()


# -- names --------------------------------------------------------------------------------------------------------------


def name_of(address: bytes) -> str:
    """Return the name of the body at an address, such as ``2026-10-04T13/<64 hexadecimal digits>``."""
    hour, digest = _ADDRESS.unpack(address)
    return f"{datetime.fromtimestamp(hour * HOUR_SECONDS, UTC):{_HOUR_FORMAT}}/{digest.hex()}"


def address_of(name: str) -> bytes | None:
    """Return the address of the body with a name; None when it is no body's name."""
    found = _NAME.fullmatch(name)
    hour = None if found is None else _read_hour(found[1])
    return None if found is None or hour is None else _ADDRESS.pack(hour, bytes.fromhex(found[2]))


@lru_cache(maxsize=1000)
def _read_hour(text: str) -> int | None:
    try:
        hour = int(datetime.strptime(f"{text}+0000", f"{_HOUR_FORMAT}%z").timestamp()) // HOUR_SECONDS
    except ValueError:
        return None
    return hour if hour >= 0 else None


def hour_of(address: bytes) -> int:
    """Return the hour in which the body at an address was written, counted from the Unix epoch."""
    return int.from_bytes(address[:4])


# -- errors of the library --------------------------------------------------------------------------------------------

_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound")
_METADATA: Final = ("169.254.169.254", "metadata.google.internal")
"""Where the library looks for the credentials of a cloud's own machines when it finds no others."""
_OS_ERROR: Final = re.compile(r"\(os error (\d+)\)")
_TAKES_NOTHING: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_REFUSALS: Final = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)


def _code(error: Exception) -> str:
    """Return the server's own name of an error, such as ``NoSuchBucket``."""
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _kind(error: Exception, *, writing: bool) -> Failure:
    if _code(error) in _NO_BUCKET:
        return Failure.REFUSED
    if isinstance(error, _REFUSALS):
        return Failure.FULL if writing else Failure.REFUSED  # without the right to write there may be one to read
    number = _OS_ERROR.search(str(error))
    if number and int(number[1]) in _TAKES_NOTHING:
        return Failure.FULL
    return Failure.LOST if "error sending request" in str(error) else Failure.BROKEN


def _message(error: Exception) -> str:
    if any(host in str(error) for host in _METADATA):
        return "there are no credentials in the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    code = _code(error)
    if code in _NO_BUCKET:
        return f"{code}; create it, or correct bodies.url"
    if isinstance(error, _REFUSALS):
        return f"{code or 'access denied'}; correct the credentials in the environment, or their rights"
    return code or (str(error).splitlines() or [type(error).__name__])[0][:300]
