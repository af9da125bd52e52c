"""Options that several commands share, and the settings that they lead to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sayonce.cli.language import choose_english, phrase
from sayonce.cli.output import talk

if TYPE_CHECKING:
    from sayonce.config import Settings

ConfigOption = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="The settings' file. [default: sayonce.toml, if it is here]"),
]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Where clips are kept: sqlite:///FILE, redis://HOST, memory://."),
]
BodiesOption = Annotated[
    str | None,
    typer.Option("--bodies", metavar="URL", help="Where large clips lie: file:///DIRECTORY, s3://BUCKET/PREFIX."),
]
EngineOption = Annotated[
    str | None, typer.Option("--engine", metavar="NAME", help="A configured engine, or a kind such as hibari.")
]
ParamOption = Annotated[
    list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the engine; repeatable.")
]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="Whose clips they are, with API keys.")]
JSONOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for a program.", callback=choose_english, is_eager=True)
]


def settings(config: str | None = None, **overrides: Any) -> Settings:
    """Return the settings, and warn of variables that only look like some.

    Raises:
        ConfigError: naming what is wrong.

    """
    _warn_of_misspelt()
    return load(config, **overrides)


def store_settings(
    config: str | None = None, *, as_json: bool = False, needed: bool = True, **overrides: Any
) -> Settings:
    """Return the settings of a command that uses a store, and tell which it is, but to a program; see ``choose``.

    Raises:
        ConfigError: naming what is wrong, or that it cannot be told which store is meant.

    """
    from sayonce.cli.which_store import choose

    _warn_of_misspelt()
    choice = choose(config, overrides, needed=needed)
    if not as_json:
        talk(str(choice))
    return choice.settings


def _warn_of_misspelt() -> None:
    from sayonce.config import misspelt

    for variable, right in misspelt(os.environ):
        talk("warning: {variable} has no effect: call it {right}", variable=variable, right=right)


def load(config: str | None = None, **overrides: Any) -> Settings:
    """Return the settings; ``store_url="…"`` stands for the setting ``store.url``.

    Raises:
        ConfigError: naming what is wrong.

    """
    from sayonce.config import load_settings

    return load_settings(config, overrides={name.replace("_", ".", 1): value for name, value in overrides.items()})


def wrong(english: str, /, **values: object) -> typer.BadParameter:
    """Return the error of wrong usage, which exits with 2, in the user's language."""
    return typer.BadParameter(phrase(english, **values))


def pairs(params: list[str], own_options: Mapping[str, str | None]) -> dict[str, str]:
    """Return what several ``--param NAME=VALUE`` give.

    ``own_options`` are fields that have an option of their own, or None where they mean nothing to the command.
    """
    given: dict[str, str] = {}
    for param in params:
        name, separator, value = param.partition("=")
        if not name or not separator:
            raise wrong("--param {param}: write it as NAME=VALUE", param=param)
        if name in own_options:
            option = own_options[name]
            if option is None:
                raise wrong("--param {name}: leave it out, as nobody listens", name=name)
            raise wrong("--param {name}: use {option}", name=name, option=option)
        if name in given:
            raise wrong("--param {name}: is given twice", name=name)
        given[name] = value
    return given
