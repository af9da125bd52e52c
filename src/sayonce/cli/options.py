"""The options of the commands, each with its help, and the refusal of wrong ones; no settings.

Options that mean the same for several commands stand here once. typer reads them from the commands' signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from sayonce.cli.language import choose_english, phrase

# -- of several commands ------------------------------------------------------------------------------------------------

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

# -- say, serve, ledger, explain ----------------------------------------------------------------------------------------

SayText = Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - reads it from stdin.")]
SayOutput = Annotated[
    str | None,
    typer.Option("-o", "--output", metavar="FILE", help="Where to write it; - is stdout. [default: speech.FORMAT]"),
]
SayVoice = Annotated[str | None, typer.Option("--voice", metavar="VOICE", help="The voice to speak in.")]
SayFormat = Annotated[
    str | None, typer.Option("--format", metavar="FORMAT", help="By default what FILE ends in, else wav.")
]

ServeHost = Annotated[str | None, typer.Option("--host", help="Where to listen. [default: 127.0.0.1]")]
ServePort = Annotated[int | None, typer.Option("--port", help="0 takes a free one. [default: 8080]")]
ServeWorkers = Annotated[int | None, typer.Option("--workers", help="Processes that share the port. [default: 1]")]
ServeTrace = Annotated[
    str | None, typer.Option("--trace", metavar="FILE", help="Record when requests come, but not for what.")
]

LedgerFirst = Annotated[str | None, typer.Option("--from", metavar="DAY", help="[default: 30 days before the last]")]
LedgerLast = Annotated[str | None, typer.Option("--to", metavar="DAY", help="[default: today, in UTC]")]

ExplainRequest = Annotated[
    str, typer.Argument(metavar="REQUEST", help="A request's body: '{...}', a file, or - for stdin.")
]
ExplainOther = Annotated[str | None, typer.Argument(metavar="OTHER", help="Another, to compare with.")]

# -- purge, gc ----------------------------------------------------------------------------------------------------------

PurgeDigest = Annotated[str | None, typer.Argument(metavar="KEY", help="As X-Sayonce-Key gives it.")]
PurgeKey = Annotated[str | None, typer.Option("--key", metavar="KEY", help="KEY, as an option.")]
PurgeText = Annotated[
    str | None,
    typer.Option("--text", metavar="TEXT", help="What was said, with the options that it was said with."),
]
PurgeVoice = Annotated[str | None, typer.Option("--voice", metavar="VOICE", help="With --text: the voice.")]
PurgeModel = Annotated[str | None, typer.Option("--model", metavar="NAME", help="With --text: the request's.")]
PurgeFormat = Annotated[
    str | None, typer.Option("--format", metavar="FORMAT", help="With --text; a clip goes in every format.")
]
PurgeRequest = Annotated[
    str | None, typer.Option("--request", metavar="REQUEST", help="A request's body: '{...}', a file, or -.")
]
PurgeTag = Annotated[str | None, typer.Option("--tag", metavar="NAME=VALUE", help="Such as voice=alice.")]
PurgeAll = Annotated[bool, typer.Option("--all", help="Every clip in the store.")]
PurgeYes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --all.")]

SweepDryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")]
SweepYes = Annotated[bool, typer.Option("--yes", "-y", help="Also when the store points to no body at all.")]

# -- warm ---------------------------------------------------------------------------------------------------------------

WarmFiles = Annotated[
    list[str] | None, typer.Argument(metavar="FILE…", help="Texts or requests: txt, csv, jsonl; - is stdin.")
]
WarmKind = Annotated[
    Literal["txt", "csv", "jsonl"] | None,
    typer.Option("--as", help="What the files are, where their names do not say it. [default: txt for stdin]"),
]
WarmVoices = Annotated[
    list[str] | None,
    typer.Option(
        "--voice", metavar="VOICE", help="The voice of rows that name none; repeatable: each row in each voice."
    ),
]
WarmFormat = Annotated[
    str | None, typer.Option("--format", metavar="FORMAT", help="By default the take, which all others come from.")
]
WarmConcurrency = Annotated[int, typer.Option("--concurrency", min=1, help="Clips at once.")]
WarmRate = Annotated[
    float | None, typer.Option("--rate", metavar="N", help="Begin at most N clips a second.", min=0.001)
]
WarmTop = Annotated[
    int | None,
    typer.Option("--top", metavar="N", min=1, help="Of files that log requests, only the N that come most often."),
]
WarmRefresh = Annotated[bool, typer.Option("--refresh", help="Make anew what is there.")]
WarmOlderThan = Annotated[
    str | None, typer.Option("--older-than", metavar="TIME", help="Make anew what is older, such as 7d.")
]
WarmURL = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="Have this gateway make them: http://HOST:PORT.")
]
WarmKeyVariable = Annotated[
    str | None, typer.Option("--api-key-env", metavar="NAME", help="The variable with the gateway's API key.")
]
WarmReferences = Annotated[
    Path | None,
    typer.Option(
        "--voices",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Compute the speaker features of every audio file in a directory instead.",
    ),
]

# -- simulate, new-key --------------------------------------------------------------------------------------------------

Traces = Annotated[
    list[Path] | None, typer.Argument(metavar="TRACE…", help="Files that 'sayonce serve --trace' wrote.")
]
SyntheticRequests = Annotated[
    int | None, typer.Option("--synthetic", metavar="N", min=1, help="N made-up requests over ten days instead.")
]
SimulatedTier = Annotated[
    Literal["store", "memory"], typer.Option("--tier", help="Whose sizes count: memory also holds WAV and PCM.")
]
SimulatedPolicies = Annotated[
    list[str] | None, typer.Option("--policy", metavar="gdsf|lru", help="Repeatable. [default: both]")
]
SimulatedSizes = Annotated[
    list[str] | None,
    typer.Option("--size", metavar="SIZE", help="Such as 64MB; repeatable. [default: 1 to 100 % of all clips]"),
]
SimulatedTTLs = Annotated[
    list[str] | None, typer.Option("--ttl", metavar="TIME", help="Such as 7d, or none; repeatable. [default: 24h]")
]

KeyTenant = Annotated[str, typer.Argument(metavar="TENANT", help="Whose key it is; tenants share no clips.")]
KeyAdmin = Annotated[
    bool, typer.Option("--admin", help="The operator's key: it may see, hear and purge the clips of all tenants.")
]
KeyFile = Annotated[Path | None, typer.Option("--file", help="The keys' file, to which its line is added.")]

# -- wrong usage --------------------------------------------------------------------------------------------------------


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
