"""The settings by section: their names, types, defaults, and the checks that concern one section."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from sayonce.config.files import read_file
from sayonce.config.quantities import NO_BOUND, NO_EXTENSION, Bound, ByteSize, Duration, Extension, Lifetime
from sayonce.core.eviction import PolicyName
from sayonce.errors import ConfigError

_HOST_NAME: Final = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]*|\[[0-9A-Fa-f:.]+\]")
ANY_ORIGIN: Final = "*"
_CORS_ORIGIN: Final = re.compile(
    r"\*|(?!http://[^/]*:80$|https://[^/]*:443$)[a-z][a-z0-9+.-]*://"
    r"([0-9a-z_-][0-9a-z._-]*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?"
)
"""The form in which browsers send ``Origin`` (RFC 6454 section 6.2); extensions and desktop applications have schemes of their own."""
_HTTP: Final = re.compile(r"https?://[^/\s]")


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ServerSettings(_Section, frozen=True):
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    engine: str | None = None
    strict: bool = False
    openai_names: bool = True
    max_body_bytes: ByteSize = ByteSize(8_000_000)
    request_timeout: Duration = Duration(seconds=120)
    shutdown_timeout: Duration = Duration(seconds=30)
    allowed_hosts: tuple[str, ...] | str = ()
    cors_origins: tuple[str, ...] | str = ()
    public_lists: bool = False
    connections: int = 1000
    header_max_bytes: ByteSize = ByteSize(65_536)
    header_seconds: float = 10.0
    request_seconds: float = 60.0
    slowest_bytes_per_second: int = 500
    buffered_max_bytes: ByteSize = ByteSize(64_000_000)
    unread_seconds: float = 60.0
    unread_max_bytes: ByteSize = ByteSize(64_000_000)

    def __post_init__(self) -> None:
        if not self.host:
            raise ValueError("host must be an address such as 127.0.0.1")
        if not 0 <= self.port <= 65535:  # noqa: PLR2004 (TCP's range)
            raise ValueError("port must be between 0 and 65535")
        if not all(map(_HOST_NAME.fullmatch, self.hosts)):
            raise ValueError("allowed_hosts must be names such as tts.example.com, without scheme, port or path")
        if not all(map(_CORS_ORIGIN.fullmatch, self.origins)):
            raise ValueError(
                "cors_origins must be origins such as https://app.example.com or http://localhost:3000, in lower case and "
                "without path, default port or user; or *"
            )
        self._check_bounds()

    def _check_bounds(self) -> None:
        for name in ("workers", "connections"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.request_timeout.total_seconds() <= 0:
            raise ValueError("request_timeout must be more than 0, such as 120s")
        for name in (
            "max_body_bytes",
            "header_max_bytes",
            "slowest_bytes_per_second",
            "buffered_max_bytes",
            "unread_max_bytes",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be a number of bytes above 0")
        for name in ("header_seconds", "request_seconds", "unread_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be a number of seconds above 0")

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of ``allowed_hosts``; the environment separates them by commas."""
        return _listed(self.allowed_hosts)

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins of ``cors_origins``, written in the same way."""
        return _listed(self.cors_origins)


def _listed(value: tuple[str, ...] | str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


class StoreSettings(_Section, frozen=True):
    url: str | None = None
    ttl: Lifetime = Lifetime(hours=24)
    stale: Extension = NO_EXTENSION
    max_bytes: ByteSize = ByteSize(2_000_000_000)
    policy: PolicyName = "gdsf"
    budget_ms: float = 50.0
    namespace: str = ""
    offline: Duration = Duration(hours=24)

    def __post_init__(self) -> None:
        if not 0 < self.budget_ms < float("inf"):
            raise ValueError("budget_ms must be a number of milliseconds above 0")
        if self.ttl.total_seconds() <= 0:
            raise ValueError("ttl must be more than 0, such as 24h, or none")
        if self.max_bytes <= 0:
            raise ValueError("max_bytes must be a size above 0, such as 2 GB")


class MemorySettings(_Section, frozen=True):
    max_bytes: ByteSize = ByteSize(256_000_000)
    policy: PolicyName = "gdsf"


class BodiesSettings(_Section, frozen=True):
    url: str | None = None
    inline_max_bytes: Bound = Bound(65_536)
    max_bytes: Bound = NO_BOUND
    budget_ms: float = 250.0

    def __post_init__(self) -> None:
        if not 0 < self.budget_ms < float("inf"):
            raise ValueError("budget_ms must be a number of milliseconds above 0")
        if self.max_bytes <= 0:
            raise ValueError("max_bytes must be a size above 0, such as 10 GB, or none")


class AudioSettings(_Section, frozen=True):
    take: Literal["flac", "opus", "as-is"] = "flac"
    silence_ttl: Duration = Duration(minutes=1)


class VoicesSettings(_Section, frozen=True):
    max_bytes: ByteSize = ByteSize(1_000_000_000)


class TraceSettings(_Section, frozen=True):
    file: str | None = None
    max_bytes: ByteSize = ByteSize(100_000_000)

    def __post_init__(self) -> None:
        if self.max_bytes <= 0:
            raise ValueError("max_bytes must be a size above 0, such as 100 MB")


class SecuritySettings(_Section, frozen=True):
    key_secret: str | None = None
    key_secret_file: str | None = None
    api_keys_file: str | None = None

    def __repr__(self) -> str:
        return f"SecuritySettings(key_secret_file={self.key_secret_file!r}, api_keys_file={self.api_keys_file!r})"


class LogSettings(_Section, frozen=True):
    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"
    hits: bool = False


class DashboardSettings(_Section, frozen=True):
    texts: bool = False


class TracingSettings(_Section, frozen=True):
    endpoint: str | None = None
    service_name: str = "sayonce"

    def __post_init__(self) -> None:
        if self.endpoint is not None and not _HTTP.match(self.endpoint):
            raise ValueError("endpoint must be like http://localhost:4318")


class Settings(_Section, frozen=True):
    """All settings; ``engines`` holds each engine's section as it was written."""

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    memory: MemorySettings = MemorySettings()
    bodies: BodiesSettings = BodiesSettings()
    audio: AudioSettings = AudioSettings()
    voices: VoicesSettings = VoicesSettings()
    trace: TraceSettings = TraceSettings()
    security: SecuritySettings = SecuritySettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    dashboard: DashboardSettings = DashboardSettings()
    engines: dict[str, dict[str, Any]] = {}

    @property
    def store_url(self) -> str:
        return self.store.url or default_store_url()

    def key_secret(self) -> bytes:
        """Return the secret for digests and seals, empty when none is configured.

        Raises:
            ConfigError: the file cannot be read, or is empty.

        """
        if self.security.key_secret is not None:
            return self.security.key_secret.encode()
        if self.security.key_secret_file is None:
            return b""
        secret = read_file(self.security.key_secret_file, "security.key_secret_file").strip()
        if not secret:
            raise ConfigError(f"security.key_secret_file: {self.security.key_secret_file} is empty")
        return secret


def default_store_url() -> str:
    """Return the URL of the SQLite file in the user's cache directory."""
    try:
        cache_home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError:
        raise ConfigError("this user has no home directory: set HOME, or name a file in store.url or --store") from None
    return f"sqlite:///{Path(cache_home) / 'sayonce' / 'clips.db'}"
