"""The choice of a command's store: the one that is named, else that of the running gateway, else the default."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from sayonce.cli.language import phrase
from sayonce.cli.output import address, talk
from sayonce.cli.running import Gateway, gateways, shareable, value_of
from sayonce.cli.settings import Overrides, load, warn_of_misspelt
from sayonce.config import DEFAULT_FILE, Settings, settings_file, variable_of
from sayonce.errors import ConfigError
from sayonce.stores.url import SQLiteURL, parse_url

_MEMORY: Final = "memory://"
_OF_ITS_FILE: Final = ("server.engine", "audio.take")
"""Settings that mean something beside the engines of the gateway's own file alone."""


class Choice(msgspec.Struct, frozen=True):
    """The settings of a command, and why they name this store."""

    settings: Settings
    why: str
    file: tuple[str, str] | None
    """The settings' file, and what names it."""

    def __str__(self) -> str:
        return phrase("store: {store} ({why})", store=address(parse_url(self.settings.store_url)), why=self.why)


class UnclearStore(ConfigError):
    """A gateway runs, and its store cannot be used from here by itself."""


def store_settings(
    config: str | None = None, *, as_json: bool = False, needed: bool = True, **overrides: str | None
) -> Settings:
    """Return the settings of a command that uses a store, and tell which it is, but to a program; see ``choose``.

    Raises:
        ConfigError: naming what is wrong, or that it cannot be told which store is meant.

    """
    warn_of_misspelt()
    choice = choose(config, overrides, needed=needed)
    if not as_json:
        talk(str(choice))
    return choice.settings


def lasting(settings: Settings) -> None:
    """Refuse a store that ends with the process.

    Raises:
        ConfigError: it is ``memory://``.

    """
    if settings.store_url == "memory://":
        raise ConfigError(
            phrase(
                "memory:// is the memory of one running server: ask that server, under /v1/cache, or name another "
                "--store"
            )
        )


def choose(config: str | None, overrides: Overrides, *, needed: bool = True) -> Choice:
    """Return the settings, those of a running gateway where nothing here names a store.

    Args:
        config: the option ``--config``.
        overrides: other options, by setting.
        needed: the command is about what the gateway has; others use the default where its store is unclear.

    Raises:
        UnclearStore: several gateways run, or this shell lacks a secret of the gateway's.
        ConfigError: a setting is wrong.

    """
    own, file = load(config, **overrides), settings_file(config, os.environ)
    running = gateways()
    found = _of_file(running, file)
    if own.store.url and not (_names_a_relative_path(own, file, overrides) and _have_it(found, file)):
        _warn_of_other_secrets(own, running)
        return Choice(own, _named_by(overrides, file), file)
    open_to_all = _different(gateway for gateway in found if gateway.store != _MEMORY)
    if open_to_all:
        try:
            return _adopt(_only(open_to_all), own, config, file, overrides)
        except UnclearStore as error:
            if needed:
                raise
            reason = error.message.partition(":\n")[0]
            return Choice(own, phrase("the default: {reason}", reason=reason), file)
    return Choice(own, _why_default(found, running, file), file)


def _why_default(found: list[Gateway], running: list[Gateway], file: tuple[str, str] | None) -> str:
    if found:
        return phrase(
            "the default: the gateway on {url} keeps its clips in its own memory, see there", url=found[0].url
        )
    if running:
        return phrase("the default: {file} names none", file=file[0] if file else "")
    return phrase("the default")


def named(settings: Settings, config: str | None, overrides: Overrides) -> Choice:
    """Return the choice of a gateway, which follows no other."""
    file = settings_file(config, os.environ)
    default = not settings.store.url
    return Choice(settings, phrase("the default") if default else _named_by(overrides, file), file)


def _named_by(overrides: Overrides, file: tuple[str, str] | None) -> str:
    if overrides.get("store_url"):
        return "--store"
    variable = variable_of("store.url")
    return variable if os.environ.get(variable) or file is None else file[0]


def _names_a_relative_path(own: Settings, file: tuple[str, str] | None, overrides: Overrides) -> bool:
    """Return whether the settings' file itself names the store, by a path that is another one in another directory."""
    if file is None or _named_by(overrides, file) != file[0]:
        return False
    with suppress(ConfigError):
        where = parse_url(own.store_url)
        return isinstance(where, SQLiteURL) and not where.path.is_absolute()
    return False


def _have_it(found: list[Gateway], file: tuple[str, str] | None) -> bool:
    """Return whether there are gateways, and all were started with this file."""
    path = None if file is None else str(Path(file[0]).resolve())
    return bool(found) and all(gateway.config == path for gateway in found)


def _of_file(running: list[Gateway], file: tuple[str, str] | None) -> list[Gateway]:
    """Return the gateways with this settings' file; all of them where none was asked for and none has it."""
    if file is None:
        return running
    path = str(Path(file[0]).resolve())
    same = [gateway for gateway in running if gateway.config == path]
    return same if same or file[1] != DEFAULT_FILE else running


def _different(running: Iterable[Gateway]) -> list[Gateway]:
    """Return one gateway of each group that has all in common but process and address."""
    alike = {msgspec.json.encode(msgspec.structs.replace(gateway, pid=0, url="")): gateway for gateway in running}
    return list(alike.values())


def _only(running: list[Gateway]) -> Gateway:
    if len(running) == 1:
        return running[0]
    lines = (f"  {each.url}  {address(parse_url(each.store))}  {each.config or ''}".rstrip() for each in running)
    several = phrase("several gateways run; say with --store or --config which of their stores is meant:")
    raise UnclearStore("\n".join([several, *lines]))


def _adopt(
    gateway: Gateway, own: Settings, config: str | None, file: tuple[str, str] | None, overrides: Overrides
) -> Choice:
    """Return the settings with the gateway's store, and all of its file's where there is no other file here."""
    as_there = own
    if file is None and gateway.config is not None:
        config, file = gateway.config, (gateway.config, "--config")
        as_there = _load_theirs(gateway, overrides)
    same_file = None if file is None else str(Path(file[0]).resolve())
    taken = {
        name.replace(".", "_", 1): value
        for name, value in gateway.settings.items()
        if value_of(own, name) == value_of(Settings(), name)
        and (same_file == gateway.config or name not in _OF_ITS_FILE)
    }
    taken["store_url"] = _with_login(gateway, as_there)
    given = {name: value for name, value in overrides.items() if value}
    settings = load(config, **{**taken, **given})
    if told := _other_secret(settings, gateway):
        raise UnclearStore(told)
    lacking = [name for name in gateway.engine_variables if name not in os.environ]
    if lacking:
        talk(
            "warning: the gateway on {url} has {names} in its environment, and this shell has not: keys may differ",
            url=gateway.url,
            names=", ".join(lacking),
        )
    return Choice(settings, phrase("of the gateway on {url}", url=gateway.url), file)


def _load_theirs(gateway: Gateway, overrides: Overrides) -> Settings:
    try:
        return load(gateway.config, **overrides)
    except ConfigError as error:
        raise UnclearStore(
            phrase("the settings of the gateway on {url}: {error}", url=gateway.url, error=error)
        ) from None


def _with_login(gateway: Gateway, as_there: Settings) -> str:
    """Return the store's URL with the credentials that the gateway has.

    Raises:
        UnclearStore: they are neither in its settings' file nor in this environment.

    """
    if not gateway.logs_in:
        return gateway.store
    url = as_there.store.url
    if url is not None and shareable(url)[0] == gateway.store:
        return url
    raise UnclearStore(
        phrase(
            "the gateway on {url} logs in to {store}, with credentials that this shell has not: give them in "
            "{variable} or --store",
            url=gateway.url,
            store=gateway.store,
            variable=variable_of("store.url"),
        )
    )


def _warn_of_other_secrets(settings: Settings, running: list[Gateway]) -> None:
    """Warn where a gateway that has the same store makes its keys with another secret."""
    with suppress(ConfigError):  # of a wrong URL, which is told when it is opened
        store, _ = shareable(settings.store_url)
        for told in {_other_secret(settings, gateway) for gateway in running if gateway.store == store} - {None}:
            talk("warning: {told}", told=told)


def _other_secret(settings: Settings, gateway: Gateway) -> str | None:
    """Return a warning where the gateway has a secret and this shell has none, or the other way round."""
    file = gateway.settings.get("security.key_secret_file")
    theirs = gateway.secret_in_environment or file is not None
    ours = settings.security.key_secret is not None or settings.security.key_secret_file is not None
    if theirs == ours:
        return None
    if ours:
        return phrase("the gateway on {url} makes its keys without a secret, and this shell has one", url=gateway.url)
    setting = "security.key_secret" if gateway.secret_in_environment else "security.key_secret_file"
    return phrase(
        "the gateway on {url} makes its keys with a secret that this shell has not: set {variable} as it is there",
        url=gateway.url,
        variable=variable_of(setting),
    )
