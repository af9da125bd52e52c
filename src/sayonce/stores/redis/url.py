"""URLs of Redis: one server, Sentinels, or a Cluster, over TLS or not; messages never repeat a password."""

from __future__ import annotations

import re
from typing import Final, Literal, NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

Topology = Literal["single", "sentinel", "cluster"]
Address = tuple[str, int]

REDIS_FORMS: Final = """\
  redis://[user:password@]host[:port][/db]        Redis or Valkey
  redis+sentinel://[user:password@]host[:port],…/service[/db][?sentinel_username=…&sentinel_password=…]
  redis+cluster://[user:password@]host[:port],…   any of the Cluster's nodes
  rediss://…, rediss+sentinel://…, rediss+cluster://…  the same over TLS, with these options:
      ?ssl_ca_certs=/path/ca.pem                  a CA of your own
      ?ssl_certfile=/path/client.pem&ssl_keyfile=/path/client.key  a certificate to show"""
_SCHEME: Final = re.compile(r"(rediss?)(?:\+(sentinel|cluster))?")
_PORTS: Final[dict[Topology, int]] = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")
_OPTIONS: Final = re.compile(r"\?(?:ssl|sentinel)_.*", re.DOTALL)
_RESERVED: Final = {"/": "%2F", "?": "%3F", "#": "%23", "[": "%5B", "]": "%5D"}
"""Not '@', of which the last one ends the login."""
_MAX_PORT: Final = 65535


class RedisURL(msgspec.Struct, frozen=True, kw_only=True):
    """Where Redis is and how to log in to it; credentials are not in its ``repr``.

    ``host`` and ``port`` are the server, or the first Sentinel or Cluster node; ``others`` are the further ones.
    """

    host: str
    port: int = 6379
    others: tuple[Address, ...] = ()
    topology: Topology = "single"
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    tls: bool = False
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        return ((self.host, self.port), *self.others)

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(secret for secret in (self.password, self.sentinel_password) if secret)

    @property
    def shown(self) -> str:
        scheme = ("rediss" if self.tls else "redis") + ("" if self.topology == "single" else f"+{self.topology}")
        service = f"/{self.service}" if self.service else ""
        database = "" if self.topology == "cluster" else f"/{self.db}"
        return f"{scheme}://{','.join(map(shown_address, self.addresses))}{service}{database}"

    def __repr__(self) -> str:
        return f"RedisURL({self.shown!r})"


def shown_address(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_redis(url: str) -> RedisURL | None:
    """Parse a URL of Redis; return None when it is a URL of another store.

    Raises:
        ValueError: naming the mistake, without repeating any part of the URL.

    """
    scheme = _SCHEME.fullmatch(url.partition("://")[0])
    if scheme is None:
        return None
    topology = _topology(scheme[2])
    _check_login(url)
    try:
        parts = urlsplit(url)
    except ValueError:  # its message would repeat the part
        _wrong_port()
    login, _, hosts = parts.netloc.rpartition("@")
    (host, port), *others = [_address(each, _PORTS[topology]) for each in hosts.split(",")]
    if others and topology == "single":
        raise ValueError("several hosts are for redis+sentinel:// and redis+cluster://")
    service, database = _path(parts.path, topology)
    tls = scheme[1] == "rediss"
    username, _, password = login.partition(":")
    if "," in username:
        raise ValueError("the login comes before the first host, and a ',' in it is %-encoded")
    return RedisURL(
        host=host,
        port=port,
        others=tuple(others),
        topology=topology,
        service=service,
        db=database,
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=tls,
        **_options(parts, topology, tls=tls),
    )


def _topology(name: str | None) -> Topology:
    if name is None:
        return "single"
    return "sentinel" if name == "sentinel" else "cluster"


def _address(text: str, default_port: int) -> Address:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        _wrong_port()
    if not host:
        raise ValueError("the host is missing")
    if port == 0 or parts.path:
        _wrong_port()
    return host, port or default_port


def _check_login(url: str) -> None:
    """Check the login for characters that mean something else in a URL, as passwords often have them.

    Raises:
        ValueError: there are; it says how to write them.

    """
    rest = _OPTIONS.sub("", url.partition("://")[2])
    found = sorted(_RESERVED.keys() & set(rest.rpartition("@")[0]))
    if found:
        how = ", ".join(f"{character!r} as {_RESERVED[character]}" for character in found)
        raise ValueError(f"percent-encode the user name and password: write {how}")


def _wrong_port() -> NoReturn:
    raise ValueError(f"the port must be a number from 1 to {_MAX_PORT}") from None


def _path(path: str, topology: Topology) -> tuple[str, int]:
    """Return the service of Sentinel, and the database."""
    service, rest = "", path.removeprefix("/")
    if topology == "sentinel":
        service, _, rest = rest.partition("/")
        if not service:
            raise ValueError("redis+sentinel:// needs the name of the service after its hosts, such as /mymaster")
    if not re.fullmatch(r"[0-9]{0,5}", rest):
        raise ValueError("what follows the host must be a database number, such as /0")
    if topology == "cluster" and int(rest or 0):
        raise ValueError("a Cluster has no database but 0")
    return unquote(service), int(rest or 0)


def _options(parts: SplitResult, topology: Topology, *, tls: bool) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = (*(_TLS_OPTIONS if tls else ()), *(_SENTINEL_OPTIONS if topology == "sentinel" else ()))
    if parts.fragment or not options.keys() <= set(known):
        takes = f"the only options are {', '.join(known)}" if known else "redis:// takes no options after '?'"
        raise ValueError(takes)
    for name, value in options.items():
        if not value:
            raise ValueError(f"{name} needs {'the path of a PEM file' if name in _TLS_OPTIONS else 'a value'}")
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise ValueError("ssl_keyfile is the key of an ssl_certfile, which is missing")
    return options
