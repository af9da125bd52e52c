"""Access by API keys: which client is admitted, and as which tenant; the keys' file holds only their digests.

A key is sent as ``Authorization: Bearer KEY``, or as ``api-key: KEY``, as clients of Azure do; once, and in one of them.

One key a line, ``tenant:digest`` or ``tenant:digest:admin``, the digest being SHA-256 of the key in hexadecimal; empty
lines and lines that begin with ``#`` are skipped. A tenant may have several keys; a key has one tenant. The right
``admin`` is the operator's, over all tenants. The keys are random and long, so a plain digest is enough.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import threading
from codecs import BOM_UTF8
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import msgspec

from sayonce.config import ANY_ORIGIN, Settings, read_file
from sayonce.errors import ConfigError, Forbidden, Unauthorized

KEY_PREFIX: Final = "so-"
_KEY_HEADERS: Final = (b"authorization", b"api-key")
_NO_KEY: Final = (b"", b"bearer")
"""The values that clients without a key send."""
_HOW: Final = "'Authorization: Bearer <key>' or 'api-key: <key>'"
_DIGEST: Final = re.compile("[0-9a-fA-F]{64}")

log = logging.getLogger("sayonce.gateway")


class Client(msgspec.Struct, frozen=True):
    """An authorised client. The tenant is part of each cache key; ``admin`` is the right over all tenants."""

    tenant: str = ""
    admin: bool = False


class Access:
    """Checks credentials; without configured keys every client is the one tenant ``""``.

    Args:
        path: the file of API keys; None where there are none.
        public_lists: whether the engines' own models and voices are listed without a key.

    Raises:
        ConfigError: the file is unreadable or malformed.

    """

    def __init__(self, path: str | None = None, *, public_lists: bool = False) -> None:
        self._path = path
        self._public_lists = public_lists
        self._reading = threading.Lock()
        self._clients = None if path is None else _read(path)
        self._anonymous = Client(admin=True)

    def reload(self) -> None:
        """Read the file of API keys again; where that fails, the known keys stay valid, and the log says why."""
        if self._path is None:
            log.info("no API keys are configured, so there are none to read again")
            return
        with self._reading:  # of several at once, the last to read is the last to have its way
            try:
                self._clients = _read(self._path)
            except ConfigError as error:
                log.error("the API keys were not read again, the old ones stay valid: %s", error)  # noqa: TRY400 (it says all)
            else:
                log.info("read %d API keys from %s", len(self._clients), self._path)

    @property
    def open(self) -> bool:
        return self._clients is None

    def authorise(self, headers: Iterable[tuple[bytes, bytes]]) -> Client:
        """Return the client of a request.

        Raises:
            Unauthorized: no key, or one that is not in the file.

        """
        if self._clients is None:
            return self._anonymous
        presented = [each for each in headers if each[0] in _KEY_HEADERS]
        if len(presented) != 1:
            often = "once, not several times" if presented else "with each request"
            raise Unauthorized(f"an API key is needed: send {_HOW} {often}")
        return self._check(*presented[0])

    def authorise_reader(self, headers: Iterable[tuple[bytes, bytes]]) -> Client | None:
        """Return the client that asks for a list; None without a key, where the engines' own lists are public.

        Raises:
            Unauthorized: there is no key and lists are not public, or there is one and it is not valid.

        """
        headers = list(headers)
        given = (value for name, value in headers if name in _KEY_HEADERS)
        if self._public_lists and not self.open and all(value.strip().lower() in _NO_KEY for value in given):
            return None
        return self.authorise(headers)

    def authorise_admin(self, headers: Iterable[tuple[bytes, bytes]]) -> Client:
        """Return the client of a request; raise Forbidden where it may not administer the cache."""
        client = self.authorise(headers)
        if not client.admin:
            raise Forbidden("this needs a key with the 'admin' right")
        return client

    def _check(self, name: bytes, value: bytes) -> Client:
        assert self._clients is not None
        key = value
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() != b"bearer":
                raise Unauthorized(f"the API key must be sent as {_HOW}")
        # A look-up in a table may take longer for a digest that begins as a known one does. Nobody can make digests
        # with a beginning of their choice beyond some bits, and a digest's beginning says nothing of its random key.
        client = self._clients.get(sha256(key.strip()).digest())
        if client is None:
            raise Unauthorized("this API key is not valid")
        return client


def load_access(settings: Settings) -> Access:
    """Read the API keys' file, and refuse to serve strangers without one.

    Raises:
        ConfigError: the file is unreadable or malformed, or the server would be open to other machines or every web page.

    """
    path = settings.security.api_keys_file
    if path is None and ANY_ORIGIN in settings.server.origins:
        raise ConfigError(
            "server.cors_origins has *, and there are no API keys: every web page that somebody opens on this machine "
            "could ask, upload and purge. Name the origins, such as https://app.example.com, or set security.api_keys_file"
        )
    if path is None and not _is_loopback(settings.server.host):
        raise ConfigError(
            f"server.host is {settings.server.host}, which other machines reach, and there are no API keys: make one "
            "with 'sayonce new-key TENANT --file keys.txt' and set security.api_keys_file, or bind to 127.0.0.1"
        )
    return Access(path, public_lists=settings.server.public_lists)


def new_key(tenant: str, *, admin: bool = False) -> tuple[str, str]:
    """Return a new random key, and the line for the file that admits it.

    Raises:
        ConfigError: the tenant's name cannot stand in the file.

    """
    if not _is_tenant(tenant):
        raise ConfigError(f"a tenant's name {_TENANT_RULE}")
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    line = f"{tenant}:{sha256(key.encode()).hexdigest()}"
    return key, f"{line}:admin" if admin else line


def _read(path: str) -> dict[bytes, Client]:
    clients: dict[bytes, Client] = {}
    lines: dict[bytes, int] = {}
    content = read_file(path, "security.api_keys_file").removeprefix(BOM_UTF8)
    for number, raw in enumerate(content.split(b"\n"), 1):
        line = _decoded(raw, f"{path}, line {number}").strip()
        if not line or line.startswith("#"):
            continue
        digest, client = _key(line, f"{path}, line {number}")
        if (first := lines.setdefault(digest, number)) != number:
            raise ConfigError(
                f"{path}, line {number}: the key of line {first} again; a key has one line, so delete one of them"
            )
        clients[digest] = client
    if not clients:
        raise ConfigError(f"{path}: holds no key; make one with 'sayonce new-key TENANT --file {path}'")
    return clients


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None


def _key(line: str, where: str) -> tuple[bytes, Client]:
    tenant, _, rest = line.partition(":")
    digest, _, right = rest.partition(":")
    if not tenant or not _DIGEST.fullmatch(digest) or right not in ("", "admin"):
        raise ConfigError(f"{where}: not 'tenant:SHA-256 of the key in hexadecimal' or '…:admin'")
    if not _is_tenant(tenant):
        raise ConfigError(f"{where}: a tenant's name {_TENANT_RULE}")
    return bytes.fromhex(digest), Client(tenant, right == "admin")


_TENANT_RULE: Final = (
    "is not empty, has no ':', no outer spaces and no invisible characters, and does not begin with '#'"
)


def _is_tenant(name: str) -> bool:
    return bool(name) and name.isprintable() and name == name.strip() and ":" not in name and not name.startswith("#")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
