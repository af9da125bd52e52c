"""``sayonce say``: speak a text into a file, without a server."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import msgspec

from sayonce.audio.formats import FORMATS
from sayonce.cache import saved_seconds
from sayonce.cli.clip_output import STDOUT, open_output
from sayonce.cli.language import phrase
from sayonce.cli.options import wrong
from sayonce.cli.output import data_json, seconds, talk
from sayonce.cli.requests import Said
from sayonce.config import Settings
from sayonce.core.envelope import Entry, Refused
from sayonce.core.outcome import Outcome
from sayonce.errors import StoreError
from sayonce.observe.ledger import Ledger
from sayonce.observe.ledger_writer import write_once
from sayonce.service import Service
from sayonce.speech.plan import Plan

_DEFAULT_FORMAT: Final = "wav"
_SUFFIXES: Final = {f".{name}": name for name in FORMATS} | {".ogg": "opus", ".raw": "pcm", ".ulaw": "mulaw"}


class Job(msgspec.Struct, frozen=True):
    """The text, the options and the file that the command line names."""

    text: str
    output: str | None
    voice: str | None
    format: str | None
    params: list[str]
    json: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How the job was done; ``outcome`` and ``tier`` as in ``Cache-Status``."""

    outcome: Outcome
    tier: str | None
    stored: str | None
    """The store that holds it now."""
    storeless: bool = False
    """Whether there is none to hold it, as with ``memory://``."""
    seconds: float
    """The time that the command took."""
    compute_seconds: float
    """The time that the synthesis took, now or earlier."""
    duration_seconds: float
    engine: str
    voice: str
    key: str
    format: str
    bytes: int
    ignored: str = ""
    """The fields and characters that were left out, as in ``X-Sayonce-Ignored``."""
    file: str | None = None
    silence: bool = False
    """Whether the text has nothing to speak, so that no engine was asked and no store."""


def run(job: Job, settings: Settings) -> None:
    """Speak, write the file, and report.

    Raises:
        CallerError: something on the command line is wrong.
        EngineError: the engine failed; nothing is written then.

    """
    if job.json and job.output == STDOUT:
        raise wrong("--json and -o - both want stdout")
    audio_format = _format(job)
    name = job.output or f"speech.{audio_format}"
    with open_output(name) as file:
        body, report = asyncio.run(_speak(job, audio_format, settings))
        file.write(body)
    if report.ignored:
        talk("ignored: {what}", what=report.ignored)
    if job.json:
        shown = name.encode(errors="backslashreplace").decode()  # JSON has no bytes that are not UTF-8
        data_json(msgspec.structs.replace(report, file=None if name == STDOUT else shown))
    else:
        talk(f"{'' if name == STDOUT else f'{name}: '}{_told(report)}")


def _format(job: Job) -> str:
    suffix = Path(job.output or "").suffix.lower()
    name = (job.format or "").lower() or _SUFFIXES.get(suffix) or ("" if suffix else _DEFAULT_FORMAT)
    if name not in FORMATS:
        option = f"--format {job.format}" if job.format else f"-o {job.output}"
        raise wrong("{option}: the format must be one of {formats}", option=option, formats=", ".join(FORMATS))
    return name


async def _speak(job: Job, audio_format: str, settings: Settings) -> tuple[bytes, Report]:
    service = Service(settings)
    synthesizer, cache = service.synthesizer, service.cache
    async with cache:
        try:
            await synthesizer.learn_voices()
            said = Said(job.text, job.voice, audio_format, job.params)
            plan = synthesizer.plan(synthesizer.parse(said.fields(synthesizer.catalogue.engines[0])))
            started = time.perf_counter()
            answer = await synthesizer.speak(plan)
            entry = await answer.result()
            elapsed_seconds = time.perf_counter() - started
            cache.record(answer.outcome, entry)
            await cache.settle()
            ledger = Ledger(cache.now)
            ledger.charge(plan, answer.outcome, entry)
            await write_once(cache, ledger)
            stored = await _stored_in(service, plan)
        finally:
            await synthesizer.close()
    storeless = cache.store is None
    return entry.body, _report(plan, entry, answer.outcome, answer.tier, stored, elapsed_seconds, storeless=storeless)


def _report(
    plan: Plan,
    entry: Entry,
    outcome: Outcome,
    tier: str | None,
    stored: str | None,
    elapsed_seconds: float,
    *,
    storeless: bool,
) -> Report:
    return Report(
        outcome=outcome,
        tier=tier,
        stored=stored,
        storeless=storeless,
        seconds=elapsed_seconds,
        compute_seconds=saved_seconds(entry),
        duration_seconds=entry.about["frames"] / entry.about["sample_rate_hz"],
        engine=plan.request.engine.name,
        voice=plan.request.utterance.voice,
        key=plan.take_key.hex(),
        format=plan.request.format.name,
        bytes=len(entry.body),
        ignored=plan.request.ignored,
        silence=plan.request.is_silence,
    )


async def _stored_in(service: Service, plan: Plan) -> str | None:
    """Return the name of the store if it has the take: it may not have kept what it was told to."""
    store = service.cache.store
    try:
        return store.name if store is not None and await store.get(plan.take_key) is not None else None
    except (StoreError, Refused):
        return None


def _told(report: Report) -> str:
    if report.silence:
        return phrase("nothing to speak, {length:.2f} s of silence", length=report.duration_seconds)
    if report.outcome.stored:
        return phrase(
            "hit from {tier} in {time} (saves {saved})"
            if report.outcome is Outcome.HIT
            else "hit from {tier} in {time}, past its time to live (saves {saved})",
            tier=report.tier,
            time=seconds(report.seconds),
            saved=seconds(report.compute_seconds),
        )
    return phrase(
        "synthesized in {time}, {length:.2f} s of speech ({engine}, {voice}), {kept}",
        time=seconds(report.compute_seconds),
        length=report.duration_seconds,
        engine=report.engine,
        voice=report.voice,
        kept=_kept(report),
    )


def _kept(report: Report) -> str:
    if report.stored:
        return phrase("stored in {store}", store=report.stored)
    if report.storeless:
        return phrase("not stored: memory:// ends with this command")
    return phrase("not stored: see 'sayonce doctor'")
