"""What strangers send is decoded in a process of its own: a file can crash it, fill it or keep it busy, and no more."""

import asyncio
import os
import resource
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from sayonce import Voice
from sayonce.audio.decode import subprocess_decoder
from sayonce.audio.decode.door import open_sound
from sayonce.audio.decode.subprocess_worker import BEGUN, BLOCK, DONE, FRAME, OPENED, SHAPE
from sayonce.audio.decode.thread_pool import DecoderThreads
from sayonce.audio.decode.whole_file import decode
from sayonce.errors import BadAudio, DecodersBusy
from sayonce.speech.engines import build_engine
from tests.helpers import hostile_files
from tests.helpers.audio_files import KINDS, made, speech
from tests.helpers.serving import serving, speak
from tests.helpers.stub_engines import Passing
from tests.helpers.upstream import Upstream
from tests.helpers.voice_samples import reference

PLENTY = 100_000_000
WAV = msgspec.msgpack.encode(("audio/wav", 1, False))


@pytest.mark.parametrize("name", KINDS)
def test_a_decoders_process_gives_the_very_samples_that_decoding_in_this_process_gives(name):
    kind = KINDS[name]
    body = made(kind, speech(5, 1.2, kind.rate))
    here, there = open_sound(body), subprocess_decoder.open_in_subprocess(body)
    assert (here.media_type, here.decoder_version) == (there.media_type, there.decoder_version)
    ours, theirs = list(here.blocks(PLENTY)), list(there.blocks(PLENTY))
    assert [each.sample_rate_hz for each in ours] == [each.sample_rate_hz for each in theirs]
    assert [each.samples.tobytes() for each in ours] == [each.samples.tobytes() for each in theirs]
    assert {each.samples.dtype for each in ours} == {each.samples.dtype for each in theirs}


def test_a_reference_is_the_same_voice_wherever_it_is_decoded():
    body = made(KINDS["m4a"], speech(6, 2, 24_000))
    assert Voice.from_audio(body, apart=True) == Voice.from_audio(body)
    assert decode(body, apart=True) == decode(body)


def test_a_decoders_process_tells_what_is_wrong_with_a_file_as_decoding_in_this_process_does():
    for body in (b"no audio at all", b"", made(KINDS["wav"], speech(1, 1, 24_000))[:9_000]):
        with pytest.raises(BadAudio) as here:
            list(open_sound(body).blocks(PLENTY))
        with pytest.raises(BadAudio) as there:
            list(subprocess_decoder.open_in_subprocess(body).blocks(PLENTY))
        assert there.value.message == here.value.message
    with pytest.raises(BadAudio, match="more than 1,000 samples"):
        list(subprocess_decoder.open_in_subprocess(reference()).blocks(1_000))


HOSTILE = {
    "a codebook that crashes libvorbis": lambda: hostile_files.CRASHES_LIBVORBIS,
    "packets that are not there": lambda: hostile_files.m4a_of_claimed_packets(80_000_000),
    "a fragment that is not there": lambda: hostile_files.m4a_of_a_claimed_fragment(60_000_000),
    "pictures of a quarter of a gigabyte": lambda: hostile_files.m4a_with_pictures(2, 8_000),
    "marks to look behind": lambda: hostile_files.busy_flac(400_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_would_crash_or_fill_or_occupy_a_decoder_does_nothing_to_this_process(name, monkeypatch):
    monkeypatch.setattr(subprocess_decoder, "_SECONDS", 2)
    monkeypatch.setattr(subprocess_decoder, "_BYTES_PER_SECOND", 2**40)
    body = HOSTILE[name]()
    before = resource.getrusage(resource.RUSAGE_SELF)
    with suppress(BadAudio):
        heard = b"".join(
            block.samples.tobytes() for block in subprocess_decoder.open_in_subprocess(body).blocks(PLENTY)
        )
        assert heard == hostile_files.SOUND  # FFmpeg did without the rest
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_maxrss - before.ru_maxrss < 50_000  # kB
    assert after.ru_utime - before.ru_utime < 1
    assert decode(reference(), apart=True) == decode(reference())  # the next file is none the worse for it


def decoders():
    """The processes that have a file now."""
    process = subprocess_decoder._decoder._process.pid
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def assert_soon_gone():
    until = time.monotonic() + 5
    while decoders():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def existing(monkeypatch, tmp_path):
    """Return what sets for how many seconds, for each second of its processor time, a decoder may exist."""

    def set_seconds(seconds):
        python = tmp_path / "python"
        code = f"from sayonce.audio.decode import subprocess_worker as worker; worker.WAITS_PER_SECOND = {seconds}; worker.main()"
        python.write_text(f"#!/bin/sh\nexec {sys.executable} -P -c '{code}'\n")
        python.chmod(0o755)
        monkeypatch.setattr(subprocess_decoder.sys, "executable", str(python))
        monkeypatch.setattr(subprocess_decoder, "_SECONDS", 1)
        monkeypatch.setattr(subprocess_decoder, "_BYTES_PER_SECOND", 2**40)
        subprocess_decoder.close()

    yield set_seconds
    subprocess_decoder.close()


def test_a_decoder_ends_when_its_processor_time_is_over(existing):
    existing(1_000)
    with pytest.raises(BadAudio, match="more than 1 s"):
        subprocess_decoder.open_in_subprocess(hostile_files.busy_flac(400_000))
    assert_soon_gone()


def test_a_decoder_that_uses_no_processor_time_ends_too(existing):
    existing(1)
    sound = subprocess_decoder.open_in_subprocess(reference())
    assert_soon_gone()  # nobody has told it yet how many samples are wanted
    with pytest.raises(BadAudio, match="more than 1 s"):
        list(sound.blocks(PLENTY))


def test_a_decoder_that_says_nothing_is_not_waited_for_for_ever(monkeypatch):
    ours, its = socket.socketpair()
    its.sendall(BEGUN)
    monkeypatch.setattr(subprocess_decoder._decoder, "line", lambda: ours)
    monkeypatch.setattr(subprocess_decoder, "_SECONDS", 1)
    monkeypatch.setattr(subprocess_decoder.worker, "WAITS_PER_SECOND", 0)
    with its, pytest.raises(BadAudio, match="more than 1 s"):
        subprocess_decoder.open_in_subprocess(bytes(900_000))  # more than a socket takes


def test_a_decoder_that_would_take_more_memory_than_it_may_is_refused_it():
    """FFmpeg would make a table of what these four bytes claim before it sees that nothing of it is there."""
    with pytest.raises(BadAudio, match=r"Cannot allocate memory|decoder broke off"):
        list(subprocess_decoder.open_in_subprocess(hostile_files.m4a_of_a_claimed_fragment(8_000_000)).blocks(PLENTY))


def test_no_byte_of_a_frame_beyond_the_bound_is_taken(monkeypatch):
    """A decoder that a file has taken over could fill this process with it."""
    ours, its = socket.socketpair()
    monkeypatch.setattr(subprocess_decoder._decoder, "line", lambda: ours)
    its.sendall(
        BEGUN
        + FRAME.pack(OPENED, len(WAV))
        + WAV
        + FRAME.pack(BLOCK, subprocess_decoder._MOST_FRAME_BYTES + 1)
        + b"beyond"
    )
    its.shutdown(socket.SHUT_WR)
    with its, ours.dup() as left:
        with pytest.raises(BadAudio, match="decoder broke off"):
            list(subprocess_decoder.open_in_subprocess(b"any").blocks(1_000))
        assert left.recv(100) == b"beyond"


LIES = {
    "a frame of gigabytes": [(OPENED, WAV), (BLOCK, 2**32 - 1)],
    "a block of objects": [(OPENED, WAV), (BLOCK, SHAPE.pack(b"O", 1, 24_000) + bytes(16)), (DONE, b"")],
    "a block of no channels": [(OPENED, WAV), (BLOCK, SHAPE.pack(b"h", 0, 24_000) + bytes(16)), (DONE, b"")],
    "a block of half a sample": [(OPENED, WAV), (BLOCK, SHAPE.pack(b"h", 1, 24_000) + bytes(3)), (DONE, b"")],
    "a block of nothing": [(OPENED, WAV), (BLOCK, b""), (DONE, b"")],
    "more samples than it may": [(OPENED, WAV), (BLOCK, SHAPE.pack(b"h", 1, 24_000) + bytes(4_000)), (DONE, b"")],
    "no end": [(OPENED, WAV), (BLOCK, SHAPE.pack(b"h", 1, 24_000) + bytes(16))],
    "an end before the beginning": [(DONE, b"")],
    "a beginning that is none": [(OPENED, b"\xc1")],
    "a kind that there is not": [(b"?", b"")],
}


@pytest.mark.parametrize("name", LIES)
def test_an_answer_of_a_decoders_process_is_checked_and_not_believed(name, monkeypatch):
    """A file may have taken it over."""
    ours, its = socket.socketpair()
    monkeypatch.setattr(subprocess_decoder._decoder, "line", lambda: ours)
    its.sendall(BEGUN)
    for kind, payload in LIES[name]:
        length, told = (payload, b"") if isinstance(payload, int) else (len(payload), payload)
        its.sendall(FRAME.pack(kind, length) + told)
    its.shutdown(socket.SHUT_WR)
    with its, ours, pytest.raises(BadAudio, match="decoder broke off"):
        list(subprocess_decoder.open_in_subprocess(b"any").blocks(1_000))


def test_a_decoders_process_that_was_killed_is_started_again():
    decode(reference(), apart=True)
    os.kill(subprocess_decoder._decoder._process.pid, signal.SIGKILL)
    subprocess_decoder._decoder._process.wait()
    assert decode(reference(), apart=True) == decode(reference())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_lets_a_decoder_finish_its_file(how):
    decode(reference(), apart=True)
    process = subprocess_decoder._decoder._process
    os.kill(process.pid, how)
    assert decode(reference(), apart=True) == decode(reference())
    assert subprocess_decoder._decoder._process is process
    assert process.poll() is None


def test_a_decoders_process_imports_nothing_from_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "av.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path)
    subprocess_decoder.close()
    assert decode(reference(), apart=True) == decode(reference())
    subprocess_decoder.close()


def test_a_decoders_process_that_cannot_start_is_no_fault_of_the_file(monkeypatch):
    monkeypatch.setattr(subprocess_decoder.sys, "executable", "/bin/false")
    subprocess_decoder.close()
    with pytest.raises(DecodersBusy):
        subprocess_decoder.open_in_subprocess(reference())
    subprocess_decoder.close()


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_a_decoders_process_that_cannot_fork_is_no_fault_of_the_file(monkeypatch, size):
    decode(reference(), apart=True)
    process = subprocess_decoder._decoder._process
    monkeypatch.setattr(subprocess_decoder, "_SECONDS", 1)
    monkeypatch.setattr(subprocess_decoder.worker, "WAITS_PER_SECOND", 0)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(DecodersBusy, match="ask again"):
            subprocess_decoder.open_in_subprocess(bytes(size))
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert decode(reference(), apart=True) == decode(reference())
    assert subprocess_decoder._decoder._process is process


def test_a_fork_that_fails_fails_one_file(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text(f"""#!{sys.executable} -P
from sayonce.audio.decode import subprocess_worker as worker
fork, tried = worker.os.fork, []
def fails_once():
    tried.append(1)
    if len(tried) == 1:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()
worker.os.fork = fails_once
worker.main()
""")
    python.chmod(0o755)
    monkeypatch.setattr(subprocess_decoder.sys, "executable", str(python))
    subprocess_decoder.close()
    with pytest.raises(DecodersBusy, match="ask again"):
        subprocess_decoder.open_in_subprocess(reference())
    process = subprocess_decoder._decoder._process
    assert decode(reference(), apart=True) == decode(reference())
    assert subprocess_decoder._decoder._process is process
    subprocess_decoder.close()


def test_closing_the_decoder_ends_the_decoding_under_way():
    decode(reference(), apart=True)  # so that the process which forks is there
    ended = threading.Event()

    def hear():
        with suppress(BadAudio):
            subprocess_decoder.open_in_subprocess(hostile_files.busy_flac(400_000))
        ended.set()

    threading.Thread(target=hear).start()
    time.sleep(0.3)
    assert not ended.is_set()
    subprocess_decoder.close()
    assert ended.wait(5)


async def test_an_upload_that_crashes_its_decoder_is_a_400_and_the_server_goes_on():
    async with serving(Passing()) as client:
        for _ in range(2):
            answer = await client.post(
                "/v1/audio/voices",
                data={"name": "alice"},
                files={"audio_sample": ("a.ogg", hostile_files.CRASHES_LIBVORBIS)},
            )
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "audio_sample")
        assert (await speak(client)).status_code == 200


async def test_an_answer_that_crashes_its_decoder_is_a_failure_of_its_server():
    with Upstream() as upstream:
        upstream.answer(200, hostile_files.CRASHES_LIBVORBIS, "audio/ogg")
        section = {"kind": "openai", "base_url": upstream.url, "model": "m", "default_voice": "a"}
        async with serving(build_engine("far", section)) as client:
            answer = await speak(client, model="far", voice="a", response_format="wav")
            assert answer.status_code == 502
            assert "decoder broke off" in answer.json()["error"]["message"]


# -- turns -------------------------------------------------------------------------------------------------------------


async def test_one_tenants_references_delay_anothers_by_no_more_than_the_one_that_is_being_decoded():
    decoding, order = DecoderThreads(threads=1, queue=8), []
    held = threading.Event()
    first = asyncio.ensure_future(decoding.run("greedy", held.wait, 20))
    await asyncio.sleep(0)
    greedy = [asyncio.ensure_future(decoding.run("greedy", order.append, f"greedy {n}")) for n in range(4)]
    await asyncio.sleep(0)
    other = asyncio.ensure_future(decoding.run("other", order.append, "other"))
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(first, *greedy, other)
    assert order.index("other") <= 1
    decoding.close()


async def test_one_tenant_takes_at_most_half_of_the_decoders_queue():
    decoding, held = DecoderThreads(threads=1, queue=4), threading.Event()
    waiting = [asyncio.ensure_future(decoding.run("greedy", held.wait, 20)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(DecodersBusy, match="as may wait") as told:
        await decoding.run("greedy", int)
    assert told.value.status == 503
    other = asyncio.ensure_future(decoding.run("other", int))
    await asyncio.sleep(0)
    waiting[2].cancel()  # whoever leaves makes room
    await asyncio.sleep(0)
    again = asyncio.ensure_future(decoding.run("greedy", int))
    await asyncio.sleep(0)
    held.set()
    assert await asyncio.gather(other, again) == [0, 0]
    await asyncio.gather(*waiting, return_exceptions=True)
    decoding.close()
