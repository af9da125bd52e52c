"""The gateways of this user that run: each leaves a record, by which the other commands find its store.

A record holds no secret. Its server keeps a lock on it, which the system takes away at the server's end, however that
comes; a record without a lock is removed by the next command that looks.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from sayonce.config import ENVIRONMENT_PREFIX, Settings
from sayonce.errors import ConfigError
from sayonce.stores.url import RedisURL, SQLiteURL, parse_url

_MAX_BYTES: Final = 65_536
_MAX_RECORDS: Final = 100
_FILES: Final = ("security.key_secret_file", "security.api_keys_file")
_TEXTS: Final = ("server.engine", "store.namespace", "bodies.url", "audio.take")


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """The record that a running gateway leaves of itself."""

    pid: int
    url: str
    config: str | None
    """Its settings' file."""
    settings: dict[str, str]
    """The settings that other commands need to find its clips, by dotted name; files by their whole path."""
    logs_in: bool
    """``store.url`` is without the credentials that it has."""
    secret_in_environment: bool
    engine_variables: list[str]
    """The names of variables that describe its engines."""

    @property
    def store(self) -> str:
        return self.settings["store.url"]


def describe(settings: Settings, url: str, config: str | None, environment: Mapping[str, str]) -> Gateway:
    """Return the record of a gateway that is about to run here."""
    store, logs_in = shareable(settings.store_url)
    found = {"store.url": store}
    for name in (*_TEXTS, *_FILES):
        if value := value_of(settings, name):
            found[name] = os.path.abspath(value) if name in _FILES else value  # noqa: PTH100 (a link stays one)
    return Gateway(
        pid=os.getpid(),
        url=url,
        config=None if config is None else str(Path(config).resolve()),
        settings=found,
        logs_in=logs_in,
        secret_in_environment=settings.security.key_secret is not None,
        engine_variables=sorted(name for name in environment if name.startswith(f"{ENVIRONMENT_PREFIX}ENGINES__")),
    )


def value_of(settings: Settings, name: str) -> str | None:
    section, _, field = name.partition(".")
    value: str | None = getattr(getattr(settings, section), field)
    return value


def shareable(url: str) -> tuple[str, bool]:
    """Return a store's URL as any shell of this machine may use it, and whether credentials were left out."""
    where = parse_url(url)
    if isinstance(where, SQLiteURL):
        return f"sqlite:///{where.path.absolute()}", False
    if isinstance(where, RedisURL) and (where.username or where.sentinel_username or where.secrets):
        return where.shown, True
    return url, False


@contextmanager
def recorded(gateway: Gateway) -> Iterator[None]:
    """Leave a gateway's record while it runs.

    Raises:
        OSError: it cannot be left.

    """
    directory = _directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{gateway.pid}-{time.time_ns()}.json"
    hidden, path = directory / f".{name}", directory / name
    with os.fdopen(os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, it is not a forked child's as well
            file.write(msgspec.json.encode(gateway))
            file.flush()
            hidden.replace(path)  # seen by others once it is whole and locked
            yield
        finally:
            for each in (hidden, path):
                with suppress(OSError):
                    each.unlink()


def gateways() -> list[Gateway]:
    """Return the gateways of this user that run, and remove the records of those that have ended."""
    try:
        paths = sorted(_directory().glob("[0-9]*.json"))
    except (OSError, RuntimeError):
        return []
    found = []
    for path in paths[:_MAX_RECORDS]:
        with suppress(OSError, msgspec.MsgspecError, KeyError, ConfigError):  # none of ours, or of another version
            found += _read(path)
    return found


def _read(path: Path) -> list[Gateway]:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if os.fstat(file.fileno()).st_uid != os.geteuid():
            return []
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: its server holds it
            gateway = msgspec.json.decode(file.read(_MAX_BYTES), type=Gateway)
            parse_url(gateway.store)
            return [gateway]
        path.unlink()
        return []


def _directory() -> Path:
    """Return the directory of the records (XDG Base Directory Specification).

    Not in ``XDG_RUNTIME_DIR``, which shells of one user have or have not: under cron, sudo, ssh or in a container.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if Path(state).is_absolute() else Path.home() / ".local/state") / "sayonce" / "gateways"
