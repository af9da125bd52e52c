"""Settings: a TOML file, then the environment, then the command line; each wrong one is named with its place."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from sayonce.config.wanted import shown, wrong_values
from sayonce.core.eviction import PolicyName
from sayonce.errors import ConfigError, quoted

DEFAULT_FILE: Final = "sayonce.toml"
ENVIRONMENT_PREFIX: Final = "SAYONCE_"
FILE_VARIABLE: Final = "SAYONCE_CONFIG"
"""Names the file where ``--config`` does not."""
WORKERS_VARIABLE: Final = "SAYONCE_WORKERS"
"""Names the directory that the workers of one server share."""

_OPTIONS: Final = {"trace.file": "--trace", "store.url": "--store", "bodies.url": "--bodies"}
"""Settings whose command-line option is not called by their own name."""

_HOST_NAME: Final = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]*|\[[0-9A-Fa-f:.]+\]")
ANY_ORIGIN: Final = "*"
_CORS_ORIGIN: Final = re.compile(
    r"\*|(?!http://[^/]*:80$|https://[^/]*:443$)[a-z][a-z0-9+.-]*://"
    r"([0-9a-z_-][0-9a-z._-]*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?"
)
"""As a browser sends it in ``Origin`` (RFC 6454 section 6.2); extensions and desktop applications have schemes of their own."""
_HTTP: Final = re.compile(r"https?://[^/\s]")
_DURATION_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTE_UNITS: Final = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_QUANTITY: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


class Duration(timedelta):
    """A length of time, written as ``24h``, ``7d``, ``30m``, ``1.5s`` or a number of seconds."""


class ByteSize(int):
    """A number of bytes, written as ``256 MB``, ``2 GiB`` or a number."""


class Bound(ByteSize):
    """A number of bytes that is not exceeded, or ``none``."""


_NO_BOUND: Final = Bound(sys.maxsize)


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
        """The names of ``allowed_hosts``, which in the environment have commas between them."""
        return _listed(self.allowed_hosts)

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins of ``cors_origins``, written in the same way."""
        return _listed(self.cors_origins)


def _listed(value: tuple[str, ...] | str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


class StoreSettings(_Section, frozen=True):
    url: str | None = None
    ttl: Duration = Duration(hours=24)
    max_bytes: ByteSize = ByteSize(2_000_000_000)
    policy: PolicyName = "gdsf"
    budget_ms: float = 50.0
    namespace: str = ""
    offline: Duration = Duration(hours=24)

    def __post_init__(self) -> None:
        if not 0 < self.budget_ms < float("inf"):
            raise ValueError("budget_ms must be a number of milliseconds above 0")
        if self.ttl.total_seconds() <= 0:
            raise ValueError("ttl must be more than 0, such as 24h")
        if self.max_bytes <= 0:
            raise ValueError("max_bytes must be a size above 0, such as 2 GB")


class MemorySettings(_Section, frozen=True):
    max_bytes: ByteSize = ByteSize(256_000_000)
    policy: PolicyName = "gdsf"


class BodiesSettings(_Section, frozen=True):
    url: str | None = None
    inline_max_bytes: Bound = Bound(65_536)
    max_bytes: Bound = _NO_BOUND
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
    """Everything that can be configured; ``engines`` holds each engine's own section as written."""

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


def variable_of(setting: str) -> str:
    """Return the environment variable that sets a setting."""
    return ENVIRONMENT_PREFIX + setting.replace(".", "__").upper()


def misspelt(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each variable that is no setting for want of a second underscore, with the name that it should have.

    They are no errors, as others set such names: Kubernetes, for a service that is called ``sayonce-server``.
    """
    named = [
        f"{section.name}.{field}"
        for section in msgspec.structs.fields(Settings)
        for field in getattr(section.type, "__struct_fields__", ())
    ]
    right = {ENVIRONMENT_PREFIX + name.replace(".", "_").upper(): variable_of(name) for name in named}
    for variable in environment:
        if variable in right:
            yield variable, right[variable]
        elif variable.startswith(f"{ENVIRONMENT_PREFIX}ENGINES_") and "__" not in variable:
            yield variable, variable_of("engines.name.option")


def workers_directory(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the directory of this server's processes, if it has several."""
    named = environment.get(WORKERS_VARIABLE)
    return Path(named) if named else None


def read_file(path: str, setting: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{setting}: no file can be called {quoted(path)}") from None


def load_settings(
    path: str | None = None, *, environment: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings.

    Args:
        path: the TOML file; when left out, see ``settings_file``.
        environment: ``SAYONCE_…`` variables, ``__`` between levels; the process's own when left out.
        overrides: what the command line gave, by dotted name; None values are skipped.

    Raises:
        ConfigError: naming the file or variable, the key, and what would be right.

    """
    environment = os.environ if environment is None else environment
    layers = _Layers()
    if (file := settings_file(path, environment)) is not None:
        layers.add_file(*file)
    layers.add_environment(environment)
    for name, value in (overrides or {}).items():
        if value is not None:
            layers.set(name.split("."), value, _OPTIONS.get(name, f"--{name.rpartition('.')[2]}"))
    return layers.settings()


def settings_file(path: str | None, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the file to read and what names it: ``--config``, then SAYONCE_CONFIG, then ``sayonce.toml`` if it is here."""
    if path is not None:
        return path, "--config"
    if environment.get(FILE_VARIABLE):
        return environment[FILE_VARIABLE], FILE_VARIABLE
    return (DEFAULT_FILE, DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None


class _Layers:
    """Settings on top of one another, each remembering where it came from."""

    def __init__(self) -> None:
        self._tree: dict[str, Any] = {}
        self._origins: dict[str, str] = {}

    def add_file(self, path: str, named_by: str) -> None:
        try:
            tree = tomllib.loads(read_file(path, named_by).decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
        except ValueError as error:  # also of a number with thousands of digits, which tomllib has no error for
            raise ConfigError(f"{path}: not TOML: {error}") from None
        except RecursionError:
            raise ConfigError(f"{path}: not TOML: too many levels of lists or tables") from None
        security = tree.get("security")
        if isinstance(security, dict) and "key_secret" in security:
            raise ConfigError(
                f"{path}: security.key_secret: a secret does not belong in this file; use security.key_secret_file, or "
                f"{ENVIRONMENT_PREFIX}SECURITY__KEY_SECRET in the environment"
            )
        self._tree = tree
        self._origins[""] = path

    def add_environment(self, environment: Mapping[str, str]) -> None:
        for variable, value in environment.items():
            if variable.startswith(ENVIRONMENT_PREFIX) and "__" in variable:
                if not value.isascii() and not _is_unicode(value):
                    raise ConfigError(f"{variable}: must be in UTF-8")
                self.set(variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"), value, variable)

    def set(self, names: list[str], value: Any, origin: str) -> None:
        section = self._tree
        for name in names[:-1]:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise ConfigError(f"{origin}: {name} is a setting, not a section")
        section[names[-1]] = value
        self._origins[".".join(names)] = origin

    def settings(self) -> Settings:
        for name in _with_nul(self._tree):
            raise ConfigError(f"{self._origin(name)}: {name} has a NUL character, which no file or address has")
        try:
            return msgspec.convert(self._tree, Settings, strict=False, dec_hook=_quantity)
        except msgspec.ValidationError as error:
            raise ConfigError(self._explain(str(error))) from None

    def _explain(self, message: str) -> str:
        """Name the setting that msgspec's message is about, whose form is ``what is wrong - at `$.store` ``."""
        what, _, where = message.partition(" - at `$")
        section = where.rstrip("`").lstrip(".")
        if unknown := re.search(r"unknown field `(.*?)`", what):
            name = f"{section}.{unknown[1]}" if section else unknown[1]
            what = f"is no setting; there is: {_choices(section)}"
        elif found := next(wrong_values(self._tree, Settings, "", _quantity), None):
            name, what = found
        else:  # a section's own words: "port must be …"
            field, _, what = what.partition(" ")
            name, what = f"{section}.{field}", f"{what}, not {shown(self._tree[section][field])}"
        return f"{self._origin(name)}: {name} {what}"

    def _origin(self, name: str) -> str:
        """Return what set a setting, or anything within a section."""
        name = name.partition("[")[0]
        within = (origin for set_, origin in self._origins.items() if set_.startswith(f"{name}."))
        return self._origins.get(name) or next(within, self._origins.get("", "settings"))


def _with_nul(value: Any, name: str = "") -> Iterator[str]:
    """Yield the names of settings that no call of the system would take."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _with_nul(part, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for part in value:
            yield from _with_nul(part, name)
    elif isinstance(value, str) and "\0" in value:
        yield name


def _is_unicode(value: str) -> bool:
    """Whether a value is text: bytes of a variable that are not UTF-8 come as lone surrogates."""
    return not any("\ud800" <= each <= "\udfff" for each in value)


def _choices(section: str) -> str:
    struct = next((field.type for field in msgspec.structs.fields(Settings) if field.name == section), Settings)
    return ", ".join(field.name for field in msgspec.structs.fields(struct))


def _quantity(kind: type, value: Any) -> Any:
    try:
        if kind is Duration:
            return Duration(
                seconds=_parse(value, _DURATION_UNITS, "s", "a time such as 24h, 7d, 30m, 15s or a number of seconds")
            )
        if kind is Bound and value == "none":
            return _NO_BOUND
        if issubclass(kind, ByteSize):
            wanted = "a size such as 256 MB, 2 GiB or a number of bytes" + (", or none" if kind is Bound else "")
            return kind(_parse(value, _BYTE_UNITS, "b", wanted))
    except OverflowError:
        raise ValueError(f"must be less than {shown(value)}") from None
    raise NotImplementedError(kind)


def parse_size(text: str) -> int:
    """Return the bytes that a text such as ``64 MB`` stands for.

    Raises:
        ValueError: it stands for none; the message says what would.

    """
    return int(_quantity(ByteSize, text))


def parse_duration(text: str) -> timedelta:
    """Return the time that a text such as ``24h`` stands for.

    Raises:
        ValueError: it stands for none; the message says what would.

    """
    duration: timedelta = _quantity(Duration, text)
    return duration


def _parse(value: Any, units: Mapping[str, float], default: str, wanted: str) -> float:
    found = _QUANTITY.fullmatch(str(value))
    unit = (found.group(2).lower() or default) if found else ""
    if found is None or unit not in units:
        raise ValueError(f"must be {wanted}, not {shown(value)}")
    return float(found.group(1)) * units[unit]
