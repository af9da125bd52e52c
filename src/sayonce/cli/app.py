"""The commands and their options; what a command does is imported when it runs, so that help is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from sayonce.cli import options
from sayonce.cli.output import disabled
from sayonce.cli.texts import TextCommand

app = typer.Typer(
    help="Compute speech once, reuse it many times.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_TELL_OF_STORE = ("serve", "warm")
"""Long commands: they log the store's settings that do not suit a cache."""


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
    """Keep the log quiet about the store's settings, but in long commands: ``doctor`` finds what is wrong with them."""
    if context.invoked_subcommand not in _TELL_OF_STORE:
        context.with_resource(disabled("sayonce.store.settings"))


@app.command(cls=TextCommand)
def say(
    text: options.SayText,
    output: options.SayOutput = None,
    voice: options.SayVoice = None,
    audio_format: options.SayFormat = None,
    engine: options.EngineOption = None,
    store: options.StoreOption = None,
    bodies: options.BodiesOption = None,
    param: options.ParamOption = None,
    config: options.ConfigOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Say a text into a file, from the cache if it was said before, and tell how it was answered."""
    from sayonce.cli.say import Job, run
    from sayonce.cli.which_store import store_settings

    job = Job(text, output, voice, audio_format, param or [], as_json)
    named = {"server_engine": engine, "store_url": store, "bodies_url": bodies}
    run(job, store_settings(config, as_json=as_json, needed=False, **named))


@app.command()
def serve(
    config: options.ConfigOption = None,
    host: options.ServeHost = None,
    port: options.ServePort = None,
    workers: options.ServeWorkers = None,
    engine: options.EngineOption = None,
    store: options.StoreOption = None,
    bodies: options.BodiesOption = None,
    trace: options.ServeTrace = None,
) -> None:
    """Serve the OpenAI speech API over the cache, until SIGTERM or Ctrl-C."""
    from sayonce.cli.serve import run

    overrides = {"server_host": host, "server_port": port, "server_workers": workers, "trace_file": trace}
    run(config, {**overrides, "server_engine": engine, "store_url": store, "bodies_url": bodies})


@app.command()
def stats(
    store: options.StoreOption = None, config: options.ConfigOption = None, as_json: options.JSONOption = False
) -> None:
    """Show what the store holds, how often it was used, and what that saved."""
    from sayonce.cli.stats import stats as run
    from sayonce.cli.which_store import store_settings

    run(store_settings(config, as_json=as_json, store_url=store), as_json=as_json)


@app.command()
def ledger(
    first: options.LedgerFirst = None,
    last: options.LedgerLast = None,
    store: options.StoreOption = None,
    config: options.ConfigOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Print what each tenant, engine, model, voice and day asked for and saved, as CSV."""
    from sayonce.cli.ledger import run
    from sayonce.cli.which_store import store_settings

    run(store_settings(config, as_json=as_json, store_url=store), first=first, last=last, as_json=as_json)


@app.command()
def explain(
    request: options.ExplainRequest,
    other: options.ExplainOther = None,
    tenant: options.TenantOption = None,
    engine: options.EngineOption = None,
    store: options.StoreOption = None,
    config: options.ConfigOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Show why a request has its key and whether it is stored, or in which fields two requests differ."""
    from sayonce.cli.explain import run
    from sayonce.cli.which_store import store_settings

    chosen = store_settings(config, as_json=as_json, server_engine=engine, store_url=store)
    run(request, other, chosen, tenant=tenant, as_json=as_json)


@app.command("lint-key")
def lint_key(
    engine: options.EngineOption = None, config: options.ConfigOption = None, as_json: options.JSONOption = False
) -> None:
    """Flip every parameter, and fail if one that is heard does not change the key."""
    from sayonce.cli.lint_key import lint_key as run
    from sayonce.cli.settings import settings

    run(settings(config, server_engine=engine, store_url="memory://"), as_json=as_json)


@app.command()
def purge(
    digest: options.PurgeDigest = None,
    key: options.PurgeKey = None,
    text: options.PurgeText = None,
    voice: options.PurgeVoice = None,
    model: options.PurgeModel = None,
    audio_format: options.PurgeFormat = None,
    param: options.ParamOption = None,
    request: options.PurgeRequest = None,
    tenant: options.TenantOption = None,
    tag: options.PurgeTag = None,
    everything: options.PurgeAll = False,
    yes: options.PurgeYes = False,
    engine: options.EngineOption = None,
    store: options.StoreOption = None,
    config: options.ConfigOption = None,
) -> None:
    """Remove clips from the store: one by its key, text or request, all that carry a tag, or all."""
    from sayonce.cli.purge import Job, run, said_before
    from sayonce.cli.which_store import store_settings

    said = said_before(text, voice=voice, audio_format=audio_format, params=param or [], model=model)
    job = Job(
        digest=digest, key=key, said=said, request=request, tenant=tenant, tag=tag, everything=everything, yes=yes
    )
    run(job, lambda: store_settings(config, server_engine=engine, store_url=store))


@app.command()
def gc(
    dry_run: options.SweepDryRun = False,
    yes: options.SweepYes = False,
    store: options.StoreOption = None,
    bodies: options.BodiesOption = None,
    config: options.ConfigOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Remove the bodies that nothing in the store points to any more; a server does so by itself."""
    from sayonce.cli.gc import run
    from sayonce.cli.which_store import store_settings

    chosen = store_settings(config, as_json=as_json, store_url=store, bodies_url=bodies)
    run(chosen, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
def warm(  # long, as typer reads the options from the signature
    files: options.WarmFiles = None,
    kind: options.WarmKind = None,
    voice: options.WarmVoices = None,
    audio_format: options.WarmFormat = None,
    param: options.ParamOption = None,
    tenant: options.TenantOption = None,
    concurrency: options.WarmConcurrency = 4,
    rate: options.WarmRate = None,
    top: options.WarmTop = None,
    refresh: options.WarmRefresh = False,
    older_than: options.WarmOlderThan = None,
    url: options.WarmURL = None,
    api_key_env: options.WarmKeyVariable = None,
    voices: options.WarmReferences = None,
    engine: options.EngineOption = None,
    store: options.StoreOption = None,
    bodies: options.BodiesOption = None,
    config: options.ConfigOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Make clips before anybody asks for them; run again, it goes on with what is missing."""
    from sayonce.cli.warm import Job, Remote, run
    from sayonce.cli.warm_rows import Rows
    from sayonce.cli.which_store import store_settings

    job = Job(
        rows=Rows(files or [], kind, voice or [], audio_format, param or [], top),
        references=voices,
        tenant=tenant,
        concurrency=concurrency,
        rate=rate,
        refresh=refresh,
        older_than=older_than,
        remote=None if url is None else Remote(url, api_key_env, engine),
        json=as_json,
    )
    run(
        job,
        lambda: store_settings(config, as_json=as_json, server_engine=engine, store_url=store, bodies_url=bodies),
    )


@app.command()
def doctor(
    engine: options.EngineOption = None,
    store: options.StoreOption = None,
    bodies: options.BodiesOption = None,
    config: options.ConfigOption = None,
    as_json: options.JSONOption = False,
) -> None:
    """Check the configuration, the store, the engines and the secrets, and say what to do."""
    from sayonce.cli.doctor import run

    run(config, {"server_engine": engine, "store_url": store, "bodies_url": bodies}, as_json=as_json)


@app.command()
def simulate(
    traces: options.Traces = None,
    synthetic: options.SyntheticRequests = None,
    tier: options.SimulatedTier = "store",
    policy: options.SimulatedPolicies = None,
    size: options.SimulatedSizes = None,
    ttl: options.SimulatedTTLs = None,
    as_json: options.JSONOption = False,
) -> None:
    """Replay a trace: the hit rate and the savings of other sizes, policies and times to live."""
    from sayonce.cli.simulate import Job, run

    run(Job(traces or [], synthetic, tier, policy or [], size or [], ttl or [], as_json))


@app.command("new-key")
def new_key(tenant: options.KeyTenant, admin: options.KeyAdmin = False, file: options.KeyFile = None) -> None:
    """Make an API key, print it this once, and add its digest to the keys' file."""
    from sayonce.cli.new_key import new_key as run

    run(tenant, admin=admin, file=file)


@app.command()
def version() -> None:
    """Show the version."""
    from sayonce._version import __version__
    from sayonce.cli.output import data

    data(__version__)
