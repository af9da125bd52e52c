"""Store URLs: what they mean, and messages that say what is wrong with one without repeating its password."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from sayonce.errors import ConfigError

_FORMS: Final = """valid store URLs:
  memory://                                       this process's memory alone
  sqlite://                                       one file at the default place
  sqlite:///relative.db, sqlite:////abs/path.db   one file
  redis://[user:password@]host[:port][/db]        Redis or Valkey
  rediss://…[?ssl_ca_certs=/path/ca.pem]          the same over TLS"""
_MAX_PORT: Final = 65535


class SQLiteURL(msgspec.Struct, frozen=True):
    path: Path

    @property
    def default(self) -> bool:
        """Whether it is the place of our own choosing, whose directories we make."""
        return self.path == default_path()


class RedisURL(msgspec.Struct, frozen=True, kw_only=True):
    """Where a Redis server is and how to log in to it; credentials are not in its ``repr``."""

    host: str
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False
    ssl_ca_certs: str | None = None

    @property
    def shown(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"

    def __repr__(self) -> str:
        return f"RedisURL({self.shown!r})"


def default_path() -> Path:
    """Return the SQLite file that is used when none is named (XDG Base Directory Specification)."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "sayonce" / "clips.db"


def parse_url(url: str) -> SQLiteURL | RedisURL | None:
    """Return what a store URL names; None is ``memory://``.

    Raises:
        ConfigError: it is none of the valid forms.

    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise _wrong("there is no '://' in it")
    if scheme == "memory":
        if rest:
            raise _wrong("nothing follows memory://")
        return None
    if scheme == "sqlite":
        return _sqlite(rest)
    if scheme in ("redis", "rediss"):
        return _redis(url, tls=scheme == "rediss")
    # Whatever stands before "://" may be anything, a password included: repeated only if it looks like a scheme.
    shown = f" {scheme!r}" if re.fullmatch(r"[a-z][a-z0-9+.-]{0,19}", scheme) else ""
    raise _wrong(f"the scheme{shown} is unknown")


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"store URL: {what}; {_FORMS}")


def _sqlite(rest: str) -> SQLiteURL:
    if not rest:
        return SQLiteURL(default_path())
    name = rest.removeprefix("/")
    if name == rest:
        raise _wrong("a file's path follows three slashes (sqlite:///relative.db) or four (sqlite:////abs/path.db)")
    if not name or name.endswith("/"):
        raise _wrong("sqlite:/// needs the name of a file")
    if name == ":memory:":
        raise _wrong("sqlite keeps a file; use memory:// for memory")
    if "?" in name:
        raise _wrong("sqlite takes no options after '?'")
    return SQLiteURL(Path(name).expanduser())


def _redis(url: str, *, tls: bool) -> RedisURL:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # its message would repeat the part, which is the password when that holds an unescaped "/"
        raise _wrong(
            f"the port must be a number from 1 to {_MAX_PORT}, and '/', '?', '#' in a password be %-encoded"
        ) from None
    if not host:
        raise _wrong("the host is missing")
    if port == 0:
        raise _wrong(f"the port must be a number from 1 to {_MAX_PORT}")
    return RedisURL(
        host=host,
        port=port or 6379,
        db=_database(parts),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls,
        ssl_ca_certs=_options(parts, tls=tls).get("ssl_ca_certs"),
    )


def _database(parts: SplitResult) -> int:
    number = parts.path.removeprefix("/")
    if not re.fullmatch(r"[0-9]{0,5}", number):
        raise _wrong("what follows the host must be a database number, such as /0")
    return int(number or 0)


def _options(parts: SplitResult, *, tls: bool) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = {"ssl_ca_certs"} if tls else set()
    if parts.fragment or not options.keys() <= known:
        raise _wrong("the only option is ssl_ca_certs, of rediss://" if tls else "redis:// takes no options after '?'")
    if options.get("ssl_ca_certs") == "":
        raise _wrong("ssl_ca_certs needs the path of a PEM file")
    return options
