"""Ask an engine as the speech layer does."""

import subprocess
import sys
from typing import Any

from sayonce.speech.engines import AudioStart, Engine, Utterance
from tests.helpers.paths import ROOT

ANOTHER = {float: 1.25, int: 7, str: "whisper"}


def utterance(engine: Engine, text: str, voice: str | None = None, **given: Any) -> Utterance:
    parameters = {declared.name: declared.accept(given.pop(declared.name, None)) for declared in engine.parameters}
    voice = engine.resolve_voice(voice or engine.default_voice)
    return Utterance(text, voice, engine.resolve_model(given.pop("model", None)), parameters | given)


async def hear(engine: Engine, text: str, voice: str | None = None, **given: Any) -> tuple[AudioStart, bytes]:
    start, *chunks = [item async for item in engine.synthesize(utterance(engine, text, voice, **given))]
    assert isinstance(start, AudioStart)
    assert all(type(chunk) is bytes for chunk in chunks)
    return start, b"".join(chunks)


async def pcm(engine: Engine, text: str, voice: str | None = None, **given: Any) -> bytes:
    return (await hear(engine, text, voice, **given))[1]


async def unkeyed(engine: Engine, text: str) -> list[str]:
    """Return the parameters whose declaration is not true: heard and without effect, or unheard and with one."""
    usual = await pcm(engine, text)
    changed = {
        declared.name: await pcm(engine, text, **{declared.name: ANOTHER[declared.type]}) != usual
        for declared in engine.parameters
    }
    return [declared.name for declared in engine.parameters if changed[declared.name] is not declared.heard]


ELSEWHERE = """
import asyncio, hashlib, sys
sys.path.insert(0, {tests!r})
from tests.helpers.engine_speech import pcm
from sayonce.speech.engines import build_engine

async def main():
    engine = build_engine({kind!r}, {{}})
    await engine.load()
    for voice in {voices!r}:
        print(hashlib.sha256(await pcm(engine, {text!r}, voice)).hexdigest())
    await engine.close()

asyncio.run(main())
"""


def digests_in_another_process(kind: str, text: str, voices: list[str]) -> list[str]:
    script = ELSEWHERE.format(tests=str(ROOT), kind=kind, text=text, voices=voices)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return ran.stdout.split()
