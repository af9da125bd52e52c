"""``sayonce warm`` as it is typed: over real phrases, interrupted in every way, and through a gateway."""

import gzip
import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from tests.helpers.commandline import COMMAND, stop
from tests.helpers.paths import ROOT
from tests.helpers.warm_runs import await_entries, begin, entries

TRANSCRIPTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
OWN = ROOT / "examples/phrases.csv"
ESPEAK = ("--engine", "espeak")
CONCURRENCY = 4  # the default


def prompts():
    """The transcripts of a telephone system's prompts, where Debian's asterisk-core-sounds-en is installed."""
    if not TRANSCRIPTS.exists():
        pytest.skip("asterisk-core-sounds-en is not installed")
    lines = gzip.decompress(TRANSCRIPTS.read_bytes()).decode().splitlines()
    spoken = [line.partition(": ")[2].strip() for line in lines if not line.startswith(";")]
    return [text for text in spoken if text]


def own_phrases():
    return [
        f"{line.split(',')[0]} Number {number}." for line in OWN.read_text().split("\n")[1:-1] for number in range(6)
    ]


def engine_calls(sayonce):
    return sayonce("stats", "--json").json["lifetime"].get("engine calls", 0)


@pytest.mark.parametrize("phrases", [prompts, own_phrases])
def test_warm_synthesizes_each_phrase_exactly_once_though_interrupted_again_and_again(sayonce, phrases):
    texts = phrases()
    distinct = len(set(texts))
    (sayonce.directory / "phrases.txt").write_text("\n".join(texts))
    arguments = ("phrases.txt", *ESPEAK, "--json")
    computed, kept = 0, {}
    for part in (8, 3, 2):
        with begin(sayonce, *arguments) as process:
            await_entries(process, sayonce, distinct // part)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        assert process.returncode == 130
        computed += json.loads(out)["computed"]
        now = entries(sayonce.directory)
        assert kept.items() <= now.items()  # nothing is made anew
        assert len(now) == computed == engine_calls(sayonce) < distinct
        kept = now
    last = sayonce("warm", *arguments).json
    assert computed + last["computed"] == distinct == engine_calls(sayonce)
    assert last["computed"] + last["already_there"] == len(texts)
    assert kept.items() <= entries(sayonce.directory).items()
    charged = sum(line["compute_seconds"] for line in sayonce("ledger", "--json").json)
    assert charged == pytest.approx(sayonce("stats", "--json").json["lifetime"]["engine seconds"])


@pytest.mark.parametrize("phrases", [prompts, own_phrases])
def test_phrases_are_synthesized_once_each_though_the_run_is_interrupted_and_killed(sayonce, phrases):
    texts = phrases()
    distinct = len(set(texts))
    (sayonce.directory / "phrases.txt").write_text("\n".join(texts))
    arguments = ("phrases.txt", *ESPEAK, "--json")

    with begin(sayonce, *arguments) as process:
        await_entries(process, sayonce, distinct // 8)
        process.send_signal(signal.SIGINT)
        out, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    first = json.loads(out)
    assert first["interrupted"]
    assert first["failed"] == 0
    assert b"the same command goes on" in talk
    kept = entries(sayonce.directory)
    assert len(kept) == first["computed"] == engine_calls(sayonce) < distinct  # what was begun is kept, and counted

    with begin(sayonce, *arguments) as process:
        await_entries(process, sayonce, distinct // 4)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    killed = entries(sayonce.directory)
    assert kept.items() <= killed.items()

    before = engine_calls(sayonce)
    last = sayonce("warm", *arguments)
    assert last.code == 0
    assert last.json["computed"] + last.json["already_there"] == last.json["rows"] == len(texts)
    whole = entries(sayonce.directory)
    assert len(whole) == distinct
    assert killed.items() <= whole.items()  # nothing was made anew
    calls = engine_calls(sayonce)
    assert calls - before == distinct - len(killed)

    again = sayonce("warm", *arguments).json
    assert (again["computed"], again["already_there"]) == (0, len(texts))
    # What was being made at the kill may have been counted, and is made again.
    assert engine_calls(sayonce) == calls <= distinct + CONCURRENCY


def test_warm_names_what_failed_in_its_summary_and_in_its_exit_code(quick):
    (quick.directory / "a.csv").write_text("text,voice,speed\nHi.,heart,1.2\nHo.,heart,fast\n,heart,\n")
    done = quick("warm", "a.csv")
    assert done.code == 1
    assert done.out.split()[:6] == ["computed", "1", "already", "there", "0", "failed"]
    assert "a.csv:3: 'Ho.': 'speed' must be a number, not 'fast'" in done.err
    assert "a.csv:4: 'input' is empty" in done.err
    assert "3 of 3" in done.err
    assert "\x1b" not in done.out + done.err
    report = quick("warm", "a.csv", "--json").json
    assert (report["computed"], report["already_there"], report["failed"]) == (0, 1, 2)
    assert [failure["place"] for failure in report["failures"]] == ["a.csv:3", "a.csv:4"]


def test_punctuation_alone_is_never_missing_in_a_store(quick):
    """It is a silence, which is made where it is asked for; an empty row is still a mistake."""
    (quick.directory / "a.csv").write_text("text,response_format\n.,mp3\n…,wav\n,wav\n")
    report = quick("warm", "a.csv", "--json").json
    assert (report["computed"], report["already_there"]) == (0, 2)
    assert [failure["place"] for failure in report["failures"]] == ["a.csv:4"]


def test_warm_tells_many_failures_in_few_lines(quick):
    (quick.directory / "a.txt").write_text("Hello.\n" * 50)
    done = quick("warm", "a.txt", "--voice", "nobody")
    assert done.err.count("a.txt:") == 20
    assert "and 30 more" in done.err


def test_options_of_warm_fill_what_rows_leave_out(quick):
    (quick.directory / "a.txt").write_text("Hello.\n")
    voices = ("--voice", "en-us", "--voice", "en-gb")
    assert quick("warm", "a.txt", *ESPEAK, *voices, "--param", "pitch=60", "--json").json["computed"] == 2
    said = quick("say", "Hello.", *ESPEAK, "--voice", "en-gb", "--param", "pitch=60", "--json").json
    assert said["outcome"] == "hit"
    request = {"input": "Hello.", "voice": "en-us", "pitch": 60, "response_format": "mp3"}
    answer = quick("warm", "-", *ESPEAK, "--as", "jsonl", "--json", stdin=json.dumps(request).encode()).json
    assert (answer["computed"], answer["already_there"]) == (0, 1)


def test_warm_makes_the_most_frequent_requests_of_a_log(quick):
    asked = [{"input": text} for text in ("Rare.", "Common.", "Common.", "Frequent.", "Common.", "Frequent.")]
    (quick.directory / "log.jsonl").write_text("\n".join(map(json.dumps, asked)))
    report = quick("warm", "log.jsonl", *ESPEAK, "--top", "2", "--json").json
    assert (report["rows"], report["computed"]) == (2, 2)
    assert quick("say", "Common.", *ESPEAK, "--json").json["outcome"] == "hit"
    assert quick("say", "Rare.", *ESPEAK, "--json").json["outcome"] == "led"


def test_warm_reads_texts_from_stdin(quick):
    assert quick("warm", "-", *ESPEAK, "--json", stdin="Grüß Gott.\n你好\n".encode()).json["computed"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either files, or --voices"),
        (("a.txt", "--voices", "."), "give either files, or --voices"),
        (("a.doc",), "say with --as"),
        (("nowhere.txt",), "cannot read nowhere.txt: No such file"),
        (("-", "-"), "stdin can be read once"),
        ((".", "--as", "txt"), "cannot read .: Is a directory"),
        (("a.txt", "--older-than", "soon"), "--older-than must be a time such as 24h"),
        (("--voices", ".", "--refresh"), "--refresh and --older-than are for clips"),
        (("-",), "there is nothing to say in -"),
        (("a.txt", "--store", "memory://"), "memory:// is the memory of one running server"),
        (("a.txt", "--param", "voice=x"), "use --voice"),
        (("a.txt", "--concurrency", "0"), "concurrency"),
        (("a.txt", "--url", "http://127.0.0.1:1"), "--url: http://127.0.0.1:1 does not answer"),
        (("a.txt", "--url", "nothing"), "--url: nothing does not answer"),
        (("a.txt", "--url", "http://127.0.0.1:1", "--api-key-env", "NO_KEY"), "the environment has no NO_KEY"),
        (("a.txt", "--url", "http://127.0.0.1:1", "--tenant", "x"), "name that with --api-key-env"),
        (("--voices", "nowhere"), "nowhere"),
        (("--voices", "."), "has no audio file"),
    ],
)
def test_wrong_usage_of_warm_says_what_would_be_right(quick, arguments, message):
    (quick.directory / "a.txt").write_text("Hello.\n")
    said = " ".join(quick.fails(2, "warm", *arguments).replace("│", " ").split())
    assert message in said


def test_warm_tells_once_that_the_store_is_down_and_computes_nothing(quick):
    (quick.directory / "a.txt").write_text("Hello.\n" * 5)
    said = quick.fails(1, "warm", "a.txt", "--store", "redis://127.0.0.1:1")
    assert said.count("the store did not do it") == 1


def test_with_api_keys_warm_must_be_told_whose_clips_to_make(quick):
    quick("new-key", "acme", "--file", "keys.txt")
    (quick.directory / "a.txt").write_text("Hello.\n")
    keys = {"SAYONCE_SECURITY__API_KEYS_FILE": "keys.txt"}
    assert "--tenant" in quick.fails(2, "warm", "a.txt", **keys)
    assert quick("warm", "a.txt", *ESPEAK, "--tenant", "acme", **keys).code == 0


def test_a_running_gateway_is_warmed_for_the_tenant_of_the_key(sayonce):
    key = sayonce("new-key", "acme", "--file", "keys.txt").out.strip()
    (sayonce.directory / "a.txt").write_text("Hello.\nGood bye.\n")
    keys = {"SAYONCE_SECURITY__API_KEYS_FILE": "keys.txt"}
    with sayonce.serving(*ESPEAK, **keys) as process:
        through = ("warm", "a.txt", "--url", process.url, "--json", "--api-key-env", "KEY")
        first, second = (sayonce(*through, KEY=key) for _ in range(2))
        refused = sayonce(*through, KEY="so-wrong")
        stop(process)
    assert (first.json["computed"], second.json["already_there"]) == (2, 2)
    assert refused.code == 1
    assert refused.json["failures"][0]["reason"] == "this API key is not valid"
    alone = sayonce("warm", "a.txt", *ESPEAK, "--tenant", "acme", "--json", **keys)
    assert alone.json["already_there"] == 2


def test_warm_shows_a_progress_bar_on_a_terminal(sayonce):
    (sayonce.directory / "a.txt").write_text("Hello.\nGood bye.\n")
    ours, theirs = pty.openpty()
    command = [*COMMAND, "warm", "a.txt", *ESPEAK]
    environment = sayonce.environment | {"TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        command, cwd=sayonce.directory, env=environment, stderr=theirs, stdout=subprocess.PIPE
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:  # Linux's way of telling the end
            pass
    os.close(ours)
    assert process.returncode == 0
    assert b"2/2" in shown
    assert "━".encode() in shown
