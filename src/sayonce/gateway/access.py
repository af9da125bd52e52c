"""Who may ask, and for which tenant: bearer API keys from a file that holds only their digests.

One key a line, ``tenant:digest`` or ``tenant:digest:admin``, the digest being SHA-256 of the key in hexadecimal; empty
lines and lines that begin with ``#`` are skipped. The keys are random and long, so a plain digest is enough.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import msgspec

from sayonce.config import Settings, read_file
from sayonce.errors import ConfigError, Forbidden, Unauthorized

KEY_PREFIX: Final = "so-"


class Caller(msgspec.Struct, frozen=True):
    """An authorised caller. The tenant is part of every key's document."""

    tenant: str = ""
    admin: bool = False


class Access:
    """Checks credentials; without any configured, everyone who reaches the server is the one tenant ``""``."""

    def __init__(self, callers: dict[bytes, Caller] | None = None) -> None:
        self._callers = callers
        self._anonymous = Caller(admin=True)

    @property
    def open(self) -> bool:
        return self._callers is None

    def authorise(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Return who asks.

        Raises:
            Unauthorized: no key, or one that is not in the file.

        """
        if self._callers is None:
            return self._anonymous
        for name, value in headers:
            if name == b"authorization":
                return self._check(value)
        raise Unauthorized("an API key is needed: send 'Authorization: Bearer <key>'")

    def authorise_admin(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Return who asks, if they may administer the cache."""
        caller = self.authorise(headers)
        if not caller.admin:
            raise Forbidden("this needs a key with the 'admin' right")
        return caller

    def _check(self, header: bytes) -> Caller:
        assert self._callers is not None
        scheme, _, key = header.partition(b" ")
        presented = sha256(key.strip()).digest()
        caller, known = None, b"\0" * len(presented)
        for digest, candidate in self._callers.items():
            if hmac.compare_digest(digest, presented):
                caller, known = candidate, digest
        if scheme.lower() != b"bearer" or caller is None or not hmac.compare_digest(known, presented):
            raise Unauthorized("this API key is not valid")
        return caller


def load_access(settings: Settings) -> Access:
    """Read the API keys' file, and refuse to serve strangers without one.

    Raises:
        ConfigError: the file is unreadable or malformed, or the server would be open to other machines.

    """
    path = settings.security.api_keys_file
    if path is not None:
        return Access(_parse(read_file(path, "security.api_keys_file"), path))
    if not _is_loopback(settings.server.host):
        raise ConfigError(
            f"server.host is {settings.server.host}, which other machines reach, and there are no API keys: make one "
            "with 'sayonce new-key TENANT --file keys.txt' and set security.api_keys_file, or bind to 127.0.0.1"
        )
    return Access()


def new_key(tenant: str, *, admin: bool = False) -> tuple[str, str]:
    """Return a new random key, and the line for the file that admits it.

    Raises:
        ConfigError: the tenant's name cannot stand in the file.

    """
    if not tenant or not tenant.isprintable() or ":" in tenant or tenant.startswith("#") or tenant != tenant.strip():
        raise ConfigError("a tenant's name is not empty, has no ':' and no outer spaces, and does not begin with '#'")
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    line = f"{tenant}:{sha256(key.encode()).hexdigest()}"
    return key, f"{line}:admin" if admin else line


def _parse(content: bytes, path: str) -> dict[bytes, Caller]:
    callers: dict[bytes, Caller] = {}
    for number, raw in enumerate(content.decode(errors="replace").splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        tenant, _, rest = line.partition(":")
        digest, _, right = rest.partition(":")
        if not tenant or not _is_digest(digest) or right not in ("", "admin"):
            raise ConfigError(f"{path}, line {number}: not 'tenant:SHA-256 of the key in hexadecimal' or '…:admin'")
        callers[bytes.fromhex(digest)] = Caller(tenant, right == "admin")
    if not callers:
        raise ConfigError(f"{path}: holds no key; make one with 'sayonce new-key TENANT --file {path}'")
    return callers


def _is_digest(text: str) -> bool:
    return len(text) == 2 * sha256().digest_size and all(character in "0123456789abcdefABCDEF" for character in text)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
