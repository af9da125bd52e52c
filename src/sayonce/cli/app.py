"""The commands and their options; what a command does is imported when it runs, so that help is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sayonce.cli.options import (
    BodiesOption,
    ConfigOption,
    EngineOption,
    JSONOption,
    ParamOption,
    StoreOption,
    TenantOption,
)
from sayonce.cli.output import disabled

app = typer.Typer(
    help="Compute speech once, reuse it many times.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_TELL_OF_STORE = ("serve", "warm")
"""Commands that are at it for long, and so the ones that log which of the store's settings do not suit a cache."""


def _show_version(value: bool) -> None:
    if value:
        version()
        raise typer.Exit


@app.callback()
def begin(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Leave what is wrong with the store's settings to the commands above, and to ``doctor``, whose findings they are."""
    if context.invoked_subcommand not in _TELL_OF_STORE:
        context.with_resource(disabled("sayonce.store.settings"))


@app.command()
def say(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - reads it from stdin.")],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where to write it; - is stdout. [default: speech.FORMAT]"),
    ] = None,
    voice: Annotated[str | None, typer.Option("--voice", metavar="VOICE", help="Who says it.")] = None,
    audio_format: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="By default what FILE ends in, else wav.")
    ] = None,
    engine: EngineOption = None,
    store: StoreOption = None,
    bodies: BodiesOption = None,
    param: ParamOption = None,
    config: ConfigOption = None,
    as_json: JSONOption = False,
) -> None:
    """Say a text into a file, from the cache if it was said before, and tell how it was answered."""
    from sayonce.cli.options import store_settings
    from sayonce.cli.say import Job, run

    job = Job(text, output, voice, audio_format, param or [], as_json)
    places = {"store_url": store, "bodies_url": bodies}
    run(job, store_settings(config, as_json=as_json, needed=False, server_engine=engine, **places))


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option("--host", help="Where to listen. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option("--port", help="0 takes a free one. [default: 8080]")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes that share the port. [default: 1]")
    ] = None,
    engine: EngineOption = None,
    store: StoreOption = None,
    bodies: BodiesOption = None,
    trace: Annotated[
        str | None, typer.Option("--trace", metavar="FILE", help="Record when requests come, but not for what.")
    ] = None,
) -> None:
    """Serve the OpenAI speech API over the cache, until SIGTERM or Ctrl-C."""
    from sayonce.cli.serve import run

    overrides = {"server_host": host, "server_port": port, "server_workers": workers, "trace_file": trace}
    run(config, {**overrides, "server_engine": engine, "store_url": store, "bodies_url": bodies})


@app.command()
def stats(store: StoreOption = None, config: ConfigOption = None, as_json: JSONOption = False) -> None:
    """Show what the store holds, how often it was used, and what that saved."""
    from sayonce.cli.inspect import stats as run
    from sayonce.cli.options import store_settings

    run(store_settings(config, as_json=as_json, store_url=store), as_json=as_json)


@app.command()
def ledger(
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="[default: 30 days before the last]")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DAY", help="[default: today, in UTC]")] = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    as_json: JSONOption = False,
) -> None:
    """Print what each tenant, engine, model, voice and day asked for and saved, as CSV."""
    from sayonce.cli.ledger import run
    from sayonce.cli.options import store_settings

    run(store_settings(config, as_json=as_json, store_url=store), first=first, last=last, as_json=as_json)


@app.command()
def explain(
    request: Annotated[
        str, typer.Argument(metavar="REQUEST", help="A request's body: '{...}', a file, or - for stdin.")
    ],
    other: Annotated[str | None, typer.Argument(metavar="OTHER", help="Another, to compare with.")] = None,
    tenant: TenantOption = None,
    engine: EngineOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    as_json: JSONOption = False,
) -> None:
    """Show why a request has its key and whether it is stored, or in which fields two requests differ."""
    from sayonce.cli.explain import run
    from sayonce.cli.options import store_settings

    chosen = store_settings(config, as_json=as_json, server_engine=engine, store_url=store)
    run(request, other, chosen, tenant=tenant, as_json=as_json)


@app.command("lint-key")
def lint_key(engine: EngineOption = None, config: ConfigOption = None, as_json: JSONOption = False) -> None:
    """Flip every parameter, and fail if one that is heard does not change the key."""
    from sayonce.cli.inspect import lint_key as run
    from sayonce.cli.options import settings

    run(settings(config, server_engine=engine, store_url="memory://"), as_json=as_json)


@app.command()
def purge(
    digest: Annotated[str | None, typer.Argument(metavar="KEY", help="As X-Sayonce-Key gives it.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="KEY, as an option.")] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="TEXT", help="What was said, with the options that it was said with."),
    ] = None,
    voice: Annotated[str | None, typer.Option("--voice", metavar="VOICE", help="With --text: who said it.")] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="With --text: the request's.")] = None,
    audio_format: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="With --text; a clip goes in every format.")
    ] = None,
    param: ParamOption = None,
    request: Annotated[
        str | None, typer.Option("--request", metavar="REQUEST", help="A request's body: '{...}', a file, or -.")
    ] = None,
    tenant: TenantOption = None,
    tag: Annotated[str | None, typer.Option("--tag", metavar="NAME=VALUE", help="Such as voice=alice.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every clip in the store.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --all.")] = False,
    engine: EngineOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """Remove clips from the store: one by its key, text or request, all that carry a tag, or all."""
    from sayonce.cli.options import store_settings, wrong
    from sayonce.cli.purge import Job, run
    from sayonce.cli.requests import Said

    if text is None and (voice or model or audio_format or param):
        raise wrong("--voice, --model, --format and --param go with --text")
    job = Job(
        digest=digest,
        key=key,
        said=None if text is None else Said(text, voice, audio_format, param or [], model),
        request=request,
        tenant=tenant,
        tag=tag,
        everything=everything,
        yes=yes,
    )
    run(job, lambda: store_settings(config, server_engine=engine, store_url=store))


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Also when the store points to no body at all.")] = False,
    store: StoreOption = None,
    bodies: BodiesOption = None,
    config: ConfigOption = None,
    as_json: JSONOption = False,
) -> None:
    """Remove the bodies that nothing in the store points to any more; a server does so by itself."""
    from sayonce.cli.gc import run
    from sayonce.cli.options import store_settings

    chosen = store_settings(config, as_json=as_json, store_url=store, bodies_url=bodies)
    run(chosen, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
def warm(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE…", help="Texts or requests: txt, csv, jsonl; - is stdin.")
    ] = None,
    kind: Annotated[
        Literal["txt", "csv", "jsonl"] | None,
        typer.Option("--as", help="What the files are, where their names do not say it. [default: txt for stdin]"),
    ] = None,
    voice: Annotated[
        list[str] | None,
        typer.Option("--voice", metavar="VOICE", help="Who says what names no voice itself; repeatable: each does."),
    ] = None,
    audio_format: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="By default the take, which all others come from.")
    ] = None,
    param: ParamOption = None,
    tenant: TenantOption = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Clips at once.")] = 4,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", help="Begin at most N clips a second.", min=0.001)
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top", metavar="N", min=1, help="Of files that log requests, only the N that come most often."),
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Make anew what is there.")] = False,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="TIME", help="Make anew what is older, such as 7d.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Have this gateway make them: http://HOST:PORT.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="NAME", help="The variable with the gateway's API key.")
    ] = None,
    voices: Annotated[
        Path | None,
        typer.Option(
            "--voices",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Compute the speaker features of every audio file in a directory instead.",
        ),
    ] = None,
    engine: EngineOption = None,
    store: StoreOption = None,
    bodies: BodiesOption = None,
    config: ConfigOption = None,
    as_json: JSONOption = False,
) -> None:
    """Make clips before anybody asks for them; run again, it goes on with what is missing."""
    from sayonce.cli.options import store_settings, wrong
    from sayonce.cli.warm import Job, Remote, run, run_remote, run_voices

    if (voices is None) == (not files) or (voices and url):
        raise wrong("give either files, or --voices with a directory")
    if voices and (refresh or older_than is not None):
        raise wrong("--refresh and --older-than are for clips, and not for --voices")
    job = Job(
        files=files or [],
        kind=kind,
        voices=voice or [],
        format=audio_format,
        params=param or [],
        tenant=tenant,
        concurrency=concurrency,
        rate=rate,
        top=top,
        refresh=refresh,
        older_than=older_than,
        json=as_json,
    )
    if url is not None:
        run_remote(job, Remote(url, api_key_env, engine))
        return
    chosen = store_settings(config, as_json=as_json, server_engine=engine, store_url=store, bodies_url=bodies)
    if voices is not None:
        run_voices(job, voices, chosen)
    else:
        run(job, chosen)


@app.command()
def doctor(
    engine: EngineOption = None,
    store: StoreOption = None,
    bodies: BodiesOption = None,
    config: ConfigOption = None,
    as_json: JSONOption = False,
) -> None:
    """Check the configuration, the store, the engines and the secrets, and say what to do."""
    from sayonce.cli.doctor import run

    run(config, {"server_engine": engine, "store_url": store, "bodies_url": bodies}, as_json=as_json)


@app.command()
def simulate(
    traces: Annotated[
        list[Path] | None, typer.Argument(metavar="TRACE…", help="Files that 'sayonce serve --trace' wrote.")
    ] = None,
    synthetic: Annotated[
        int | None, typer.Option("--synthetic", metavar="N", min=1, help="N made-up requests over ten days instead.")
    ] = None,
    tier: Annotated[
        Literal["store", "memory"], typer.Option("--tier", help="Whose sizes count: memory also holds WAV and PCM.")
    ] = "store",
    policy: Annotated[
        list[str] | None, typer.Option("--policy", metavar="gdsf|lru", help="Repeatable. [default: both]")
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option("--size", metavar="SIZE", help="Such as 64MB; repeatable. [default: 1 to 100 % of all clips]"),
    ] = None,
    ttl: Annotated[
        list[str] | None, typer.Option("--ttl", metavar="TIME", help="Such as 7d, or none; repeatable. [default: 24h]")
    ] = None,
    as_json: JSONOption = False,
) -> None:
    """Replay a trace: the hit rate and the savings of other sizes, policies and times to live."""
    from sayonce.cli.simulate import Job, run

    run(Job(traces or [], synthetic, tier, policy or [], size or [], ttl or [], as_json))


@app.command("new-key")
def new_key(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Whose key it is; tenants share no clips.")],
    admin: Annotated[
        bool, typer.Option("--admin", help="The operator's: sees, hears and purges what every tenant has.")
    ] = False,
    file: Annotated[Path | None, typer.Option("--file", help="The keys' file, to which its line is added.")] = None,
) -> None:
    """Make an API key, print it this once, and add its digest to the keys' file."""
    from sayonce.cli.keys import new_key as run

    run(tenant, admin=admin, file=file)


@app.command()
def version() -> None:
    """Show the version."""
    from sayonce._version import __version__
    from sayonce.cli.output import data

    data(__version__)
