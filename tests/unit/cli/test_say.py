"""``sayonce say``: the main job, and every way to ask for it wrongly."""

import io
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest
import soundfile

from tests.helpers.commandline import COMMAND, hide

TEXT = "Hello, how are you today?"


def test_say_answers_the_second_time_from_the_store_with_the_same_bytes(sayonce):
    first = sayonce("say", TEXT, "-o", "a.wav")
    second = sayonce("say", TEXT, "-o", "b.wav")
    assert (first.code, first.out, second.code, second.out) == (0, "", 0, "")
    store, told = first.err.splitlines()
    assert store.startswith(f"store: {sayonce.directory / 'cache/sayonce/clips.db'} (the default)")
    assert told.startswith("a.wav: synthesized in ")
    assert told.endswith("(hibari, heart), stored in sqlite")
    assert second.err.splitlines()[1].startswith("b.wav: hit from sqlite in ")
    assert "(saves " in second.err
    assert (sayonce.directory / "a.wav").read_bytes() == (sayonce.directory / "b.wav").read_bytes()
    assert soundfile.info(sayonce.directory / "a.wav").duration > 1


def test_the_embedded_voice_tells_its_maker_nothing(sayonce):
    """onnxruntime would keep an id of the machine in the home directory, and ask for an address of its maker's."""
    sayonce("say", TEXT, "-o", "a.wav")
    assert (sayonce.directory / "a.wav").exists()
    assert [
        path for path in sayonce.directory.rglob("*") if "onnxruntime" in path.name or "Microsoft" in path.name
    ] == []


def test_a_hit_does_not_load_the_engine_and_another_format_is_one(sayonce):
    sayonce("say", TEXT)
    hit = sayonce("say", TEXT, "-o", "a.mp3", "--json", PYTHONPROFILEIMPORTTIME="1")
    assert hit.json["outcome"] == "hit"
    assert hit.json["tier"] == "sqlite"
    assert "onnxruntime" not in hit.err
    assert "sayonce.service" in hit.err  # so the imports were indeed told


def test_say_with_json_tells_the_figures_and_the_file(quick):
    report = quick("say", TEXT, "--json", "--param", "speed=1.25", "--param", "seed=7").json
    assert report["outcome"] == "led"
    assert report["stored"] == "sqlite"
    assert report["file"] == "speech.wav"
    info = soundfile.info(quick.directory / "speech.wav")
    assert report["duration_seconds"] == pytest.approx(info.duration)
    assert report["bytes"] == (quick.directory / "speech.wav").stat().st_size
    assert len(report["key"]) == 64


def test_a_name_of_openais_is_said_as_what_it_means_and_what_is_left_out_is_told(quick):
    own = quick("say", TEXT, "--json").json
    said = quick(
        "say",
        TEXT,
        "--voice",
        "alloy",
        "--format",
        "WAV",
        "--json",
        "--param",
        "user=1234",
        "--param",
        "instructions=5",
    )
    assert (said.json["voice"], said.json["key"], said.json["outcome"]) == ("heart", own["key"], "hit")
    assert said.json["ignored"] == "instructions, user"
    assert "ignored: instructions, user" in said.err
    assert "did you mean 'heart'?" in quick.fails(2, "say", TEXT, "--voice", "Heart")


def test_a_text_that_begins_like_an_option_is_said_behind_two_dashes(quick):
    assert "q.wav: synthesized" in quick("say", "-o", "q.wav", "--", "-5 degrees").err


def test_say_with_a_store_in_memory_tells_that_nothing_is_kept(quick):
    told = quick("say", TEXT, "--store", "memory://").err
    assert "not stored: memory:// ends with this command" in told
    assert "doctor" not in told


def test_punctuation_alone_is_a_silence_that_needs_no_store(quick):
    result = quick("say", ".")
    assert "speech.wav: nothing to speak, 0.20 s of silence" in result.err
    report = quick("say", ".", "--json").json
    assert (report["silence"], report["duration_seconds"], report["stored"]) == (True, 0.2, None)
    assert soundfile.info(quick.directory / "speech.wav").duration == pytest.approx(0.2)
    assert not quick("say", TEXT, "--json").json["silence"]


def test_say_speaks_while_the_store_is_down_and_stores_nothing(quick):
    result = quick("say", TEXT, "--store", "redis://127.0.0.1:1")
    assert result.code == 0
    assert "synthesized in" in result.err
    assert "not stored: see 'sayonce doctor'" in result.err


def test_say_reads_a_text_from_stdin_and_writes_sound_to_stdout(sayonce):
    result = sayonce("say", "-", "-o", "-", "--format", "flac", stdin=b"  Hello there.\n")
    assert result.code == 0
    assert "synthesized" in result.err
    assert soundfile.info(io.BytesIO(result.raw)).format == "FLAC"
    assert not list(sayonce.directory.glob("speech*"))


def test_sound_is_not_written_to_a_terminal(sayonce):
    ours, theirs = pty.openpty()
    command = [*COMMAND, "say", TEXT, "-o", "-"]
    done = subprocess.run(
        command, check=False, stdout=theirs, stderr=subprocess.PIPE, cwd=sayonce.directory, env=sayonce.environment
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"terminal" in done.stderr


def test_say_shows_no_traceback_when_the_reader_of_its_output_leaves(sayonce):
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, "say", TEXT, "-o", "-"]
    done = subprocess.run(
        command, check=False, stdout=writing, stderr=subprocess.PIPE, cwd=sayonce.directory, env=sayonce.environment
    )
    os.close(writing)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_a_broken_configuration_is_one_line_that_names_the_place(sayonce):
    (sayonce.directory / "sayonce.toml").write_text('[store]\nttl = "soon"\n')
    error = sayonce.fails(2, "say", TEXT)
    assert error.startswith("sayonce: sayonce.toml: store.ttl must be a time such as 24h")
    assert error.count("\n") == 1


def test_say_without_an_engine_says_what_to_install(sayonce):
    hide(sayonce, "hibari", "espeakng_loader")
    assert "pip install 'sayonce[voice]'" in sayonce.fails(2, "say", TEXT)
    assert "pip install 'sayonce[voice]'" in sayonce.fails(2, "say", TEXT, "--engine", "hibari")


@pytest.mark.parametrize("arguments", [["version"], ["stats"], ["say", TEXT, "-o", "-"]])
def test_a_full_disk_behind_stdout_is_an_error_of_one_line(sayonce, arguments):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, *arguments],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=sayonce.directory,
            env=sayonce.environment,
        )
    assert done.returncode == 1
    *store, error = done.stderr.decode().splitlines()
    assert error == "sayonce: [Errno 28] No space left on device"
    assert [line.partition(" ")[0] for line in store] == ["store:"][: "version" not in arguments]


def test_a_full_disk_fails_say_and_leaves_no_file(sayonce):
    assert "cannot write /dev/full: No space left" in sayonce.fails(
        1, "say", TEXT, "-o", "/dev/full", "--format", "wav"
    )


def test_an_interrupt_of_say_is_one_line(sayonce):
    with subprocess.Popen(
        [*COMMAND, "say", "-", "-o", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=sayonce.directory,
        env=sayonce.environment | {"PYTHONPROFILEIMPORTTIME": "1"},
    ) as process:
        imports = iter(process.stderr.readline, b"")
        assert any(b"sayonce.service" in line for line in imports)  # from here on it reads stdin, or soon will
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said.endswith(b"sayonce: interrupted\n")
    assert b"Traceback" not in said


def test_say_follows_a_link_to_the_output_file(sayonce):
    (sayonce.directory / "real.wav").write_bytes(b"old")
    (sayonce.directory / "link.wav").symlink_to("real.wav")
    assert sayonce("say", TEXT, "-o", "link.wav").code == 0
    assert (sayonce.directory / "link.wav").is_symlink()
    assert soundfile.info(sayonce.directory / "real.wav").duration > 1


def test_say_writes_to_a_named_pipe_and_does_not_replace_it(sayonce):
    pipe = sayonce.directory / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        try:
            assert sayonce("say", TEXT, "-o", pipe, "--format", "wav").code == 0
            assert pipe.is_fifo()
            assert reader.stdout.read(4) == b"RIFF"
        finally:
            reader.kill()
