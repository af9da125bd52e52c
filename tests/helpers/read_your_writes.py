"""Two servers over one Redis, an engine that tells what it spoke, and clients that compare it with what was confirmed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import itertools
import json
import math
import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile

from tests.helpers.commandline import CommandLine
from tests.helpers.tcp_proxy import FarWire
from tests.helpers.upstream import Upstream, wav

SUBJECTS = [f"{kind}{number}" for kind, many in (("n", 6), ("t", 4), ("k", 4)) for number in range(many)]
CHANGED = [*SUBJECTS, *(each for each in SUBJECTS if each[0] == "n"), "all"]
TEXTS = 2
CROWD = 8
"""Requests at each instance, at once, after each change."""
RESUMES_SECONDS = 2.0
"""How long after its return a store is at the latest asked again."""


@dataclass
class Span:
    """A time; it lasts until it is ended."""

    start: float
    end: float = math.inf

    def meets(self, since: float) -> bool:
        """Whether it and the time from a moment until now have a moment in common."""
        return self.end >= since


def reference(number: int) -> bytes:
    noise = np.random.default_rng(number).integers(-8000, 8000, 8000, np.int16)
    file = io.BytesIO()
    soundfile.write(file, noise, 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


class Teller(Upstream):
    """Speaks, as sound, which reference it was given and which generation is current when it begins."""

    def __init__(self) -> None:
        super().__init__()
        self.references: dict[str, int] = {}
        self.generation = 0
        self.seconds = 0.0

    def reference(self, number: int) -> bytes:
        made = reference(number)
        self.references[hashlib.sha256(made).hexdigest()] = number
        return made

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "GET":
            await super()._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        said = json.loads(body)
        told = {"text": said["input"], "generation": self.generation, "voice": said.get("voice")}
        if "ref_audio" in said:
            audio = base64.b64decode(said["ref_audio"].partition(",")[2])
            told["reference"] = self.references[hashlib.sha256(audio).hexdigest()]
        await asyncio.sleep(self.seconds)
        sound = wav((json.dumps(told) + "\n").encode("utf-16-le") * 40)
        headers = [(b"content-type", b"audio/wav"), (b"content-length", b"%d" % len(sound))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": sound})


def told(answer: httpx.Response) -> dict[str, Any]:
    """Return what the engine told in a reference."""
    samples, _ = soundfile.read(io.BytesIO(answer.content), dtype="int16")
    return dict(json.loads(samples.tobytes().decode("utf-16-le").partition("\n")[0]))


def configured(directory: Path, upstream: Teller, offline: str) -> CommandLine:
    (directory / "sayonce.toml").write_text(
        f"""
        [engines.far]
        kind = "openai"
        base_url = "{upstream.url}"
        model = "tts"
        default_voice = "vivian"
        concurrency = 64
        [store]
        offline = "{offline}"
        budget_ms = 300
        """
    )
    return CommandLine(directory)


@contextmanager
def serving(sayonce: CommandLine, url: str, *options: str) -> Iterator[Any]:
    """Run a server; what it logs is read all the time, so that it never waits for it."""
    with sayonce.serving("--store", url, *options) as process:
        talk: list[bytes] = []
        reader = threading.Thread(target=lambda: talk.extend(process.stderr))
        reader.start()
        process.told = talk
        try:
            yield process
        finally:
            for each in reversed(family(process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            process.wait()
            reader.join()


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def send_all(process: Any, number: int) -> None:
    for pid in family(process.pid):
        os.kill(pid, number)


class Town:
    """What was confirmed of each voice, tag and key; every request is compared with it.

    A *subject* is what is changed and asked for: an uploaded name (``n0``), a voice that is purged by its tag (``t0``),
    a text that is purged by its key (``k0``). Each change has a number, and what is heard tells how new it is.
    """

    def __init__(self, teller: Teller, urls: list[str], seed: int = 1) -> None:
        self.teller = teller
        self.urls = urls
        self.random = random.Random(seed)
        # A connection for each request: it meets any worker, and none is closed as idle while a request is on its way.
        self.client = httpx.AsyncClient(timeout=60, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
        self.numbers = itertools.count(1)
        self.confirmed: defaultdict[tuple[str, str], int] = defaultdict(int)
        """The number of the last change of a subject that an instance must obey."""
        self.gone: defaultdict[str, list[Span]] = defaultdict(list)
        """From the beginning of each removal of a name to the answer to its next upload."""
        self.changed_at: defaultdict[str, float] = defaultdict(float)
        self.away: list[tuple[str, Span]] = []
        """When an instance could not reach the store."""
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.keys: dict[str, str] = {}
        self.seen: Counter[str] = Counter()
        self.asked = 0
        self.wrong: list[Any] = []
        self.over = False

    # -- asking -----------------------------------------------------------------------------------------------------

    async def speak(self, subject: str, url: str) -> None:
        """Ask, and compare what comes with what was confirmed before it was sent."""
        least = self._least(subject, url)
        text = 0 if subject[0] == "k" else self.random.randrange(TEXTS)
        voice = subject if subject[0] != "k" else "vivian"
        body = {"input": f"{subject} {text}", "voice": voice, "response_format": "wav"}
        sent = time.monotonic()
        self.asked += 1
        try:
            answer = await self.client.post(f"{url}/v1/audio/speech", json=body)
        except httpx.TransportError as error:
            self._blame("cut", subject, url, sent, repr(error), repr(error.__cause__))
            return
        status = answer.headers.get("cache-status", "").removeprefix("sayonce; ")
        self.seen[f"{answer.status_code} {status.partition('; detail')[0]}".strip()] += 1
        if answer.status_code != 200:
            if not self._excused(answer, subject, url, sent):
                self._blame("refused", subject, url, sent, answer.status_code, answer.text)
            return
        if subject[0] == "k":
            self.keys[subject] = answer.headers["x-sayonce-key"]
        heard = told(answer)
        if heard.get("reference", -1) < least if subject[0] == "n" else heard["generation"] < least:
            self._blame("old", subject, url, sent, heard, least, answer.headers["cache-status"])

    def _least(self, subject: str, url: str) -> int:
        least = self.confirmed[url, subject]
        return least if subject[0] == "n" else max(least, self.confirmed[url, "all"])

    def _excused(self, answer: httpx.Response, subject: str, url: str, sent: float) -> bool:
        """Whether a name may be removed, its reference was replaced meanwhile, or the instance did not reach the store."""
        if answer.status_code == 404:
            replaced = "reference audio of this voice is lost" in answer.text and self.changed_at[subject] > sent
            return replaced or any(span.meets(sent) for span in self.gone[subject])
        told_to_come_back = answer.status_code == 503 and answer.headers["retry-after"] == "1"
        return told_to_come_back and subject[0] == "n" and self._is_away(url, sent)

    def _is_away(self, url: str, since: float) -> bool:
        return any(url == other and span.meets(since) for other, span in self.away)

    def _blame(self, what: str, subject: str, url: str, sent: float, *more: object) -> None:
        self.seen[f"WRONG {what}"] += 1
        self.wrong.append((what, subject, url, round(sent, 3), round(time.monotonic(), 3), *more))

    async def ask_on(self, url: str, pause: float) -> None:
        while not self.over:
            await self.speak(self.random.choice(SUBJECTS), url)
            await asyncio.sleep(pause)

    async def crowd(self, subject: str, url: str, many: int) -> None:
        """Ask an instance for a subject many times at once, so that each of its workers is met."""
        subjects = [subject] if subject != "all" else [each for each in SUBJECTS if each[0] != "n"]
        await asyncio.gather(*(self.speak(self.random.choice(subjects), url) for _ in range(many)))

    # -- changing ---------------------------------------------------------------------------------------------------

    async def change(self, url: str, subject: str = "") -> bool:
        """Make one change of any kind at an instance, and note what it confirms; returns whether all obey."""
        subject = subject or self.random.choice(CHANGED)
        async with self.locks[subject]:
            number, since = next(self.numbers), time.monotonic()
            answer = await getattr(self, f"_change_{subject[0]}")(subject, url, number)
            self.seen[f"change {subject[0]}: {answer.status_code}"] += 1
            everywhere = answer.status_code in (200, 201)
            for obeying in self.urls if everywhere else [url] if answer.status_code == 202 else []:
                self.confirmed[obeying, subject] = max(self.confirmed[obeying, subject], number)
            if not everywhere and not self._change_excused(answer, subject, url, since):
                self._blame("change", subject, url, since, answer.status_code, answer.text)
            self.changed_at[subject] = time.monotonic()
            if answer.status_code == 201:
                for span in self.gone[subject]:
                    span.end = min(span.end, time.monotonic())
        if everywhere:
            await asyncio.gather(*(self.crowd(subject, each, CROWD) for each in self.urls))
        elif answer.status_code == 202:
            assert answer.json()["obeyed"] == "this instance"
            await self.crowd(subject, url, CROWD)
        return everywhere

    def _change_excused(self, answer: httpx.Response, subject: str, url: str, since: float) -> bool:
        if answer.status_code == 404:
            return any(span.meets(since) for span in self.gone[subject])
        return answer.status_code == (503 if subject[0] == "n" else 202) and self._is_away(url, since)

    async def _change_n(self, name: str, url: str, number: int) -> httpx.Response:
        if self.random.random() < 0.25 and number > len(SUBJECTS):
            self.gone[name].append(Span(time.monotonic()))
            return await self.client.delete(f"{url}/v1/audio/voices/{name}")
        files = {"audio_sample": ("clip.wav", self.teller.reference(number))}
        return await self.client.post(f"{url}/v1/audio/voices", data={"name": name}, files=files)

    async def _purge(self, url: str, number: int, **what: Any) -> httpx.Response:
        self.teller.generation = max(self.teller.generation, number)
        return await self.client.post(f"{url}/v1/cache/purge", json=what)

    async def _change_t(self, voice: str, url: str, number: int) -> httpx.Response:
        return await self._purge(url, number, tags=[f"voice={voice}"])

    async def _change_k(self, text: str, url: str, number: int) -> httpx.Response:
        return await self._purge(url, number, key=self.keys[text])

    async def _change_a(self, _: str, url: str, number: int) -> httpx.Response:
        return await self._purge(url, number, all=True)

    # -- trouble ----------------------------------------------------------------------------------------------------

    async def cut_off(self, url: str, wire: FarWire, seconds: float) -> None:
        """Cut an instance off from the store for a while; what it was told meanwhile reaches the others afterwards."""
        span = Span(time.monotonic())
        self.away.append((url, span))
        wire.swallow()
        await asyncio.sleep(seconds)
        wire.heal()
        await asyncio.sleep(RESUMES_SECONDS)
        span.end = time.monotonic()
        for (_, subject), number in list(self.confirmed.items()):
            for each in self.urls:
                self.confirmed[each, subject] = max(self.confirmed[each, subject], number)

    async def stopped(self, url: str, process: Any, seconds: float) -> None:
        """Stop an instance for a while; when it goes on, requests wait that were sent after others' changes."""
        send_all(process, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        waiting = [asyncio.create_task(self.speak(subject, url)) for subject in SUBJECTS * 2]
        await asyncio.sleep(0.2)
        send_all(process, signal.SIGCONT)
        await asyncio.gather(*waiting)
