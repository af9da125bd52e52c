"""Store URLs, and messages that name the mistake in one without repeating its password."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import msgspec

from sayonce.errors import ConfigError, quoted
from sayonce.stores.redis.url import REDIS_FORMS, RedisURL, parse_redis

__all__ = ["RedisURL", "SQLiteURL", "default_path", "parse_url"]

_FORMS: Final = (
    """valid store URLs:
  memory://                                       this process's memory alone
  sqlite://                                       one file at the default place
  sqlite:///relative.db, sqlite:////abs/path.db   one file
"""
    + REDIS_FORMS
)


class SQLiteURL(msgspec.Struct, frozen=True):
    path: Path

    @property
    def default(self) -> bool:
        """Whether it is the path of our own choosing, where missing directories are made."""
        try:
            return self.path == default_path()
        except ConfigError:  # nobody knows this user's home
            return False


def default_path() -> Path:
    """Return the SQLite file that is used when none is named (XDG Base Directory Specification)."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else _home() / ".cache") / "sayonce" / "clips.db"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise ConfigError("this user has no home directory: set HOME, or name a file in store.url or --store") from None


def parse_url(url: str) -> SQLiteURL | RedisURL | None:
    """Parse a store URL; None is ``memory://``.

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
    try:
        redis = parse_redis(url)
    except ValueError as error:
        raise _wrong(f"{error}") from None
    if redis is not None:
        return redis
    # The text before "://" may be anything, a password included: repeated only if it looks like a scheme.
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
    try:
        return SQLiteURL(Path(name).expanduser())
    except RuntimeError:
        raise _wrong(f"there is no home of the user that {quoted(name.partition('/')[0])} names") from None
