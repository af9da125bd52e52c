"""One Redis server: a bounded pool of connections with explicit timeouts, no retries, and its failures told apart."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any, Final, Generic, TypeVar, cast

import msgspec
from redis import DriverInfo, UsernamePasswordCredentialProvider, exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sayonce._version import __version__
from sayonce.errors import Failure
from sayonce.stores.deadline import Deadlines
from sayonce.stores.redis.multiplexed import MultiplexedConnections
from sayonce.stores.redis.parser import Parser
from sayonce.stores.redis.protocol import MAX_VALUE_BYTES, Login, Read, ValueTooLarge, command_of, is_wrong_type
from sayonce.stores.redis.script import Script
from sayonce.stores.redis.url import Address, RedisURL, shown_address

T = TypeVar("T")
Operation = Callable[[Any], Awaitable[T]]
"""Commands on keys of one hash tag, given the client, and their result. It may be run once more at another server, so it is
idempotent."""


class Get(msgspec.Struct, Generic[T], frozen=True):
    """The operation of a hit, and how its value is read; it goes over a multiplexed connection."""

    name: bytes
    read: Read[T]

    @property
    def command(self) -> bytes:
        return b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(self.name), self.name)

    async def __call__(self, redis: Any) -> T | None:
        """Do so by the ordinary client, for where a connection is chosen by hand."""
        try:
            value: bytes = await redis.getrange(self.name, 0, MAX_VALUE_BYTES)
        except exceptions.ResponseError as error:
            if is_wrong_type(error):
                return None
            raise
        if len(value) > MAX_VALUE_BYTES:
            raise ValueTooLarge(f"a value of more than {MAX_VALUE_BYTES:,} bytes")
        return self.read(value) if value else None


class Claim(msgspec.Struct, frozen=True):
    """The operation of a lease, over a multiplexed connection too: sets a key that is not there; None when it is."""

    name: str
    value: str
    ms: int
    read: Read[bytes] = bytes

    @property
    def command(self) -> bytes:
        return command_of("SET", self.name, self.value, "NX", "PX", str(self.ms))

    async def __call__(self, redis: Any) -> object:
        """Do so by the ordinary client, for where a connection is chosen by hand."""
        return await redis.set(self.name, self.value, nx=True, px=self.ms)


class ClaimAndGet(msgspec.Struct, Generic[T], frozen=True):
    """Both in one round trip: the lease, and the value or what is wrong with it.

    Where it went by the ordinary client the value is unknown, which an error says.
    """

    claim: Claim
    get: Get[T]

    async def __call__(self, redis: Any) -> tuple[object, T | Exception | None]:
        """Claim alone, for where a slot is moving: what was asked there holds for one command."""
        return await self.claim(redis), exceptions.TryAgainError()


class Put(msgspec.Struct, frozen=True):
    """The operation of a write."""

    name: str
    sealed: bytes
    ms: int
    read: Read[bytes] = bytes

    @property
    def command(self) -> bytes:
        return command_of("SET", self.name, self.sealed, "PX", str(self.ms))

    async def __call__(self, redis: Any) -> object:
        """Do so by the ordinary client, for where a connection is chosen by hand."""
        return await redis.set(self.name, self.sealed, px=self.ms)


class Run(msgspec.Struct, frozen=True):
    """The operation of a script that answers with a word."""

    script: Script[bytes]
    keys: tuple[bytes, ...]
    arguments: tuple[bytes, ...]
    read: Read[bytes] = bytes

    @property
    def command(self) -> bytes:
        return command_of(b"EVALSHA", self.script.digest, b"%d" % len(self.keys), *self.keys, *self.arguments)

    async def __call__(self, redis: Any) -> bytes:
        """Do so by the ordinary client, which sends the script where the server does not know it."""
        return await self.script(redis, self.keys, *self.arguments)


_MULTIPLEXED: Final = (Get, Claim, Put, Run)
MAX_CONNECTIONS: Final = 40
"""More than the calls that requests make at once, so that an operator's calls get one too."""
_ANSWER_SECONDS: Final = 1.0
"""The least time after which a server that does not answer is given up; the cache's own budget is usually shorter."""
_READ_BYTES: Final = 262_144
"""Taken from a socket's buffer at once, so that a clip comes in one piece."""
_OTHERWISE: Final = (AttributeError, LookupError, TypeError, ValueError)
"""Raised by an operation, or by the client, on an answer of another shape than its command's."""
_POOL_EXHAUSTED: Final = "No connection available."

FAILURES: Final[tuple[type[Exception], ...]] = tuple(
    thing for thing in vars(exceptions).values() if isinstance(thing, type) and thing.__base__ is Exception
)
"""The roots of everything that the client raises, of which there are several and more with each release."""
_FULL: Final = ("MISCONF", "NOREPLICAS")
"""Refusals of writes alone that the client has no class for: it cannot save, or too few replicas would have them."""
_KINDS: Final[tuple[tuple[tuple[type[Exception], ...], Failure], ...]] = (
    ((exceptions.TimeoutError,), Failure.TIMEOUT),
    # A key that is moving between servers just now; or none of our own connections is free.
    ((exceptions.AskError, exceptions.TryAgainError, exceptions.MaxConnectionsError), Failure.BUSY),
    ((exceptions.OutOfMemoryError, exceptions.ReadOnlyError), Failure.FULL),
    ((exceptions.ResponseError, exceptions.AuthenticationError, exceptions.AuthorizationError), Failure.REFUSED),
    ((exceptions.BusyLoadingError,), Failure.REFUSED),
    ((exceptions.ConnectionError,), Failure.LOST),
)


def kind_of(error: Exception) -> Failure:
    """Tell the kinds of failure apart."""
    kind = next((kind for classes, kind in _KINDS if isinstance(error, classes)), Failure.BROKEN)
    if kind is Failure.LOST and str(error) == _POOL_EXHAUSTED:
        return Failure.BUSY
    if kind is Failure.REFUSED and any(code in str(error) for code in _FULL):
        return Failure.FULL
    return kind


class Server:
    """A server's clients. Connections are made when they are needed, and made again when they broke."""

    def __init__(self, address: Address, url: RedisURL, budget_seconds: float, login: Login, db: int = 0) -> None:
        self.address = address
        self.times_unanswered = 0
        """How often it gave no answer until a call was given up."""
        self._late_seconds = 0.5 * budget_seconds
        self._answer_seconds = max(budget_seconds, _ANSWER_SECONDS)
        self._connect = partial(_Connections, address, url, budget_seconds, login, db)
        self._connections = self._connect()
        self._left: dict[_Connections, asyncio.Task[None]] = {}
        self._deadlines = Deadlines()
        self._closed = False

    def __repr__(self) -> str:
        return f"Server({shown_address(self.address)!r})"

    async def run(self, operation: Operation[T]) -> T:
        """Run an operation here; after so long without an answer that a call is given up, make new connections."""
        if self._closed:
            raise exceptions.ConnectionError("closed")
        connections = self._connections
        try:
            if isinstance(operation, _MULTIPLEXED):
                try:  # a context would be three calls with every hit
                    return cast("T", await connections.multiplexed.run(operation.command, operation.read))
                except exceptions.NoScriptError:
                    pass  # the ordinary client sends the script
            elif isinstance(operation, ClaimAndGet):
                claim, get = operation.claim, operation.get
                command = claim.command + get.command
                return cast("T", await connections.multiplexed.run_both(command, claim.read, get.read))
            return await self._run(connections, operation)
        except exceptions.TimeoutError:
            self._leave(connections)
            raise
        except asyncio.CancelledError:
            if any(self._is_late(seconds) for seconds in connections.multiplexed.unanswered):
                self._leave(connections)
            elif self._is_late(connections.multiplexed.opening_seconds):
                self.times_unanswered += 1  # another connection would be no quicker
            raise

    async def _run(self, connections: _Connections, operation: Operation[T]) -> T:
        deadline = self._deadlines.after(self._answer_seconds)
        try:
            with deadline:
                return await operation(connections.client)
        except TimeoutError:
            raise exceptions.TimeoutError("no answer in time") from None
        except _OTHERWISE as error:
            message = f"the answer is of another kind than what was asked for ({type(error).__name__})"
            raise exceptions.InvalidResponse(message) from error
        except asyncio.CancelledError:
            # While hits are answered it is this process that has too much to do, and new connections would be more.
            if self._is_late(deadline.passed_seconds) and not connections.multiplexed.unanswered:
                self._leave(connections)
            raise

    def _is_late(self, seconds: float) -> bool:
        return seconds >= self._late_seconds

    async def close(self) -> None:
        """Close every connection; every call that waits gets an error at once."""
        self._closed = True
        self._deadlines.expire()
        for task in self._left.values():
            task.cancel()
        for connections in (self._connections, *self._left):
            await connections.close()

    def _leave(self, connections: _Connections) -> None:
        """Use none of these connections any more: a network that swallows packets has taken all of them."""
        if connections is self._connections and not self._closed:
            self._connections = self._connect()
            self.times_unanswered += 1
            self._left[connections] = asyncio.create_task(self._close_later(connections))

    async def _close_later(self, connections: _Connections) -> None:
        await asyncio.sleep(self._answer_seconds)  # by then nobody waits for them
        del self._left[connections]
        await connections.close()


class _Connections:
    """All that is open to a server: redis-py's client with its pool, and the multiplexed connections for hits."""

    def __init__(self, address: Address, url: RedisURL, budget_seconds: float, login: Login, db: int) -> None:
        # Its annotations cannot tell that it answers with bytes.
        self.client: Any = Redis.from_pool(_pool(address, url, budget_seconds, login, db))
        files = (url.ssl_ca_certs, url.ssl_certfile, url.ssl_keyfile)
        self.multiplexed = MultiplexedConnections(
            address,
            login=login,
            db=db,
            tls=partial(tls_context, *files) if url.tls else _no_tls,
            answer_seconds=max(budget_seconds, _ANSWER_SECONDS),
        )

    async def close(self) -> None:
        await self.multiplexed.close()
        with suppress(*FAILURES):
            await self.client.aclose()


def _no_tls() -> None:
    return None


def _pool(address: Address, url: RedisURL, budget_seconds: float, login: Login, db: int) -> BlockingConnectionPool:
    host, port = address
    username, password = login
    tls: dict[str, Any] = {"tls": (url.ssl_ca_certs, url.ssl_certfile, url.ssl_keyfile)} if url.tls else {}
    return BlockingConnectionPool(
        max_connections=MAX_CONNECTIONS,
        timeout=budget_seconds,
        connection_class=_TLSConnection if url.tls else Connection,
        parser_class=Parser,
        host=host,
        port=port,
        db=db,
        # Not as themselves: older releases of the client show them in the pool's ``repr``.
        credential_provider=UsernamePasswordCredentialProvider(username, password) if username or password else None,
        socket_connect_timeout=max(budget_seconds, _ANSWER_SECONDS),
        # Not with ``socket_timeout``: the client would then send within ``asyncio.wait_for``, which up to Python 3.11
        # loses a cancellation that comes at the moment of its result (python/cpython#86296), and makes a task for each.
        socket_timeout=None,
        socket_keepalive=True,
        socket_read_size=_READ_BYTES,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # RESP3 brings nothing here, and a HELLO that older proxies do not know
        # CLIENT SETINFO: shows in CLIENT LIST; servers before 7.2, and users without the right, only refuse it.
        driver_info=DriverInfo().add_upstream_driver("sayonce", __version__),
        **tls,
    )


class _TLSConnection(SSLConnection):
    """A connection with a context that all share: to make one takes 20 ms of the event loop, mostly for the CAs."""

    def __init__(self, *, tls: tuple[str | None, str | None, str | None], **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls_context(*tls)


@cache
def tls_context(ca_certs: str | None, certfile: str | None, keyfile: str | None) -> ssl.SSLContext:
    """Return the context of these files; a CA of its own replaces the system's, and every certificate is verified.

    Raises:
        OSError: a file cannot be read, or is not the PEM file that it should be (``ssl.SSLError``).

    """
    context = ssl.create_default_context(cafile=ca_certs)
    if certfile is not None:
        context.load_cert_chain(certfile, keyfile)
    return context
