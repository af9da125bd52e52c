"""``sayonce serve``: check everything that can be checked, then listen."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import typer
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from sayonce.cli.allocator import give_memory_back, keep_model_blocks
from sayonce.cli.ending import CUT_OFF, LAST_SECONDS, Ending
from sayonce.cli.language import phrase
from sayonce.cli.output import talk
from sayonce.cli.running import describe, recorded
from sayonce.cli.settings import Overrides
from sayonce.cli.settings import settings as settings_of
from sayonce.cli.which_store import Choice, named
from sayonce.config import ENVIRONMENT_PREFIX, FILE_VARIABLE, ServerSettings, Settings, load_settings, settings_file
from sayonce.errors import ConfigError, SayonceError, StoreError
from sayonce.gateway.access import load_access
from sayonce.gateway.app import Gateway, create_app
from sayonce.gateway.protocol import bounded
from sayonce.observe.logs import logging_config
from sayonce.observe.trace import KEY_VARIABLE, new_run_key
from sayonce.observe.workers import shared_directory
from sayonce.service import Service, build_cache
from sayonce.speech.engines import LocalEngine
from sayonce.stores.base import SealedStore, Store

log = logging.getLogger("sayonce.gateway")

_FACTORY: Final = "sayonce.cli.serve:worker"
_BACKLOG: Final = 2048
_KEEP_ALIVE_SECONDS: Final = 75
"""Longer than proxies keep idle connections (nginx: 60 s), so that this side never closes one as it is used again."""


def run(config: str | None, overrides: Overrides) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is being said.

    Raises:
        ConfigError: something in the settings is wrong, or the store's file cannot be written.
        SayonceError: the address cannot be listened on.

    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # until it is heard, see ``gateway.app.rereading``
    signal.signal(signal.SIGHUP, lambda *_: None)  # a library's thread, begun before, may get it all the same
    give_memory_back()  # by a thread that must not get it
    settings = settings_of(config, **overrides)
    service = Service(settings)
    app = Gateway(service, load_access(settings))
    asyncio.run(_check_store(settings))
    server, ending = settings.server, _ending(settings)
    with _listen(server) as listener, _recorded(settings, config, _address(listener)):
        ending.hear()
        _announce(service, named(settings, config, overrides), _address(listener))
        if server.workers == 1:
            _serve_here(app, listener, ending)
        else:
            _hand_down(config, overrides)
            with shared_directory():
                _serve_in_workers(_uvicorn(_FACTORY, settings), listener, ending)


async def _check_store(settings: Settings) -> None:
    """Open the store once: a wrong path is an error before anything listens, and a server that is down is a warning."""
    cache = build_cache(settings)
    if cache.store is None:
        return
    await _check_bodies(cache.store)
    try:
        await cache.store.open()
        await cache.store.totals()
    except StoreError as error:
        talk("warning: the store does not answer, so nothing is remembered until it does: {error}", error=error)
    finally:
        await cache.store.close()


async def _check_bodies(store: Store) -> None:
    if not isinstance(store, SealedStore) or store.bodies is None:
        return
    try:
        await store.bodies.check()
    except StoreError as error:
        talk("warning: large clips are not remembered until this is mended: {error}", error=error)


def _listen(server: ServerSettings) -> socket.socket:
    """Return a socket that listens, which is also the proof that the address is free.

    Raises:
        SayonceError: it is not.

    """
    listener = socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((server.host, server.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(server, error) from None
    return listener


def _cannot_listen(server: ServerSettings, error: OSError) -> SayonceError:
    where = {"port": server.port, "host": server.host}
    if error.errno == errno.EADDRINUSE:
        return SayonceError(phrase("port {port} on {host} is in use: choose another with --port", **where))
    if error.errno == errno.EACCES:
        return SayonceError(
            phrase("port {port} needs more rights than this user has: choose one above 1023 with --port", **where)
        )
    reason = phrase(error.strerror or str(error))
    return ConfigError(
        phrase(
            "cannot listen on {host}: {reason}: choose an address of this machine with --host", reason=reason, **where
        )
    )


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def _recorded(settings: Settings, config: str | None, address: str) -> Iterator[None]:
    """Let the other commands of this user find the store; print a warning where that cannot be."""
    file = settings_file(config, os.environ)
    gateway = describe(settings, address, None if file is None else file[0], os.environ)
    with ExitStack() as stack:
        try:
            stack.enter_context(recorded(gateway))
        except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows this user's home
            talk("other commands do not find this gateway by themselves, name them the store: {error}", error=error)
        yield


def _announce(service: Service, choice: Choice, address: str) -> None:
    talk(
        "sayonce listens on {address}, where you can hear it in a browser, and describes itself under /docs",
        address=address,
    )
    names = ", ".join(engine.name for engine in service.synthesizer.catalogue.engines)
    talk("engines: {names}", names=names)
    talk(str(choice))
    store = service.cache.store
    if isinstance(store, SealedStore) and store.bodies is not None:
        talk("large clips: {address}", address=store.bodies.shown)
    if service.settings.security.api_keys_file is None:
        talk(
            "no API keys are configured, so only this machine is served; to serve others, make one with "
            "'sayonce new-key TENANT --file keys.txt', set security.api_keys_file, and listen with --host 0.0.0.0"
        )


def _uvicorn(factory: Callable[[], Gateway] | str, settings: Settings) -> uvicorn.Config:
    server = settings.server
    return uvicorn.Config(
        factory,
        factory=True,
        host=server.host,
        port=server.port,
        workers=server.workers,
        http=bounded(server),
        lifespan="on",
        ws="none",
        access_log=False,
        log_config=logging_config(settings.log.format, settings.log.level),
        server_header=False,
        proxy_headers=False,  # nothing here asks for the address of a proxy's client
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(server.shutdown_timeout.total_seconds()),
    )


def worker() -> Gateway:
    """Build the application of one worker of several."""
    give_memory_back()
    settings = load_settings()
    ending = _ending(settings)
    ending.hear_before_uvicorn()
    return _ready(create_app(settings), ending)


def _ending(settings: Settings) -> Ending:
    return Ending(settings.server.shutdown_timeout.total_seconds())


def _ready(app: Gateway, ending: Ending) -> Gateway:
    """Prepare the process that serves an application."""
    app.service.asked_to_end = lambda: ending.asked_at
    if any(isinstance(engine, LocalEngine) for engine in app.service.synthesizer.catalogue.engines):
        keep_model_blocks()
    gc.collect()
    gc.freeze()  # all present objects stay, and a look through them takes 30 ms
    return app


def _serve_here(app: Gateway, listener: socket.socket, ending: Ending) -> None:
    def begun() -> Gateway:
        ending.hear_before_uvicorn()
        server.should_exit |= ending.asked_at is not None  # before uvicorn heard anything
        return _ready(app, ending)

    server = uvicorn.Server(_uvicorn(begun, app.service.settings))
    try:
        server.run([listener])
    except SystemExit:  # its log has said why
        raise typer.Exit(1) from None


def _serve_in_workers(config: uvicorn.Config, listener: socket.socket, ending: Ending) -> None:
    supervisor = _Supervisor(config, [listener])
    if ending.asked_at is not None:  # before the supervisor heard anything
        supervisor.should_exit.set()
    supervisor.run()
    if any(process.exitcode in (STARTUP_FAILURE, CUT_OFF, -signal.SIGKILL) for process in supervisor.processes):
        raise typer.Exit(1)


class _Supervisor(Multiprocess):
    """Passes SIGHUP on to the workers, which read the API keys again, and kills those that do not end.

    Uvicorn would replace the workers, and wait for ever.
    """

    def handle_signals(self) -> None:
        if signal.sigtimedwait({signal.SIGHUP}, 0) is not None:
            self.handle_hup()
        super().handle_signals()

    def handle_hup(self) -> None:
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGHUP)

    def join_all(self) -> None:
        deadline = time.monotonic() + (self.config.timeout_graceful_shutdown or 0) + 2 * LAST_SECONDS
        for process in self.processes:
            process.process.join(max(0.0, deadline - time.monotonic()))
            if process.process.is_alive():
                log.error("the worker %s does not end, and is killed", process.pid)
                process.process.kill()
        super().join_all()


def _hand_down(config: str | None, overrides: Overrides) -> None:
    """Give the command line to the workers, which read their settings themselves, and one key for their trace."""
    os.environ[KEY_VARIABLE] = new_run_key()
    if config is not None:
        os.environ[FILE_VARIABLE] = config
    for name, value in overrides.items():
        if value is not None:
            os.environ[ENVIRONMENT_PREFIX + name.replace("_", "__", 1).upper()] = str(value)
