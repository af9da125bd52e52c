"""Requests on the command line: explained, compared and purged by what was said."""

import json
import unicodedata

import pytest

from sayonce.cli.code_points import changes

TEXT = "Hello, how are you today?"
ESPEAK = ("--engine", "espeak")


def request(text=TEXT, **fields):
    return json.dumps({"input": text, "response_format": "wav", **fields}, ensure_ascii=False)


def test_explain_takes_a_request_from_options_a_file_or_stdin(quick):
    (quick.directory / "a.json").write_text(request())
    (quick.directory / "notepad.json").write_bytes(b"\xef\xbb\xbf" + request().encode())
    typed = quick("explain", request(), *ESPEAK, "--json").json
    assert typed == quick("explain", "a.json", *ESPEAK, "--json").json
    assert typed == quick("explain", "notepad.json", *ESPEAK, "--json").json
    assert typed == quick("explain", "-", *ESPEAK, "--json", stdin=request().encode()).json
    shown = quick("explain", request(), "a.json", *ESPEAK).out
    assert shown.splitlines()[0].startswith("the first request  ")
    assert "have one key" in shown


def test_explain_tells_characters_that_look_alike_by_their_code_points(quick):
    shown = quick("explain", request("Hello, you."), request("Hello\uff0c you."), *ESPEAK).out
    assert "character 6: , U+002C → \uff0c U+FF0C" in " ".join(shown.split())


def test_explain_tells_that_differences_are_not_heard(quick):
    shown = quick("explain", request("Hello."), request("Hello.\u200b "), *ESPEAK).out
    assert "have one key" in shown
    assert "not heard: character 7: nothing → U+200B ZERO WIDTH SPACE, U+0020 SPACE" in shown


@pytest.mark.parametrize(
    ("this", "other", "told"),
    [
        ("a,b", "a\uff0cb", ["character 2: , U+002C → \uff0c U+FF0C"]),
        ("ab", "a\u200bb", ["character 2: nothing → U+200B ZERO WIDTH SPACE"]),
        ("a b", "a\u00a0b", ["character 2: U+0020 SPACE → U+00A0 NO-BREAK SPACE"]),
        ("a", "a  ", ["character 2: nothing → U+0020 SPACE, U+0020 SPACE"]),
        ("caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9"), ["character 4: é U+00E9 → e U+0065, U+0301 COMBINING ACUTE ACCENT"]),
        ("K9", "\u212a9", ["character 1: K U+004B → \u212a U+212A"]),
        ("pay", "p\u0430y", ["character 2: a U+0061 → \u0430 U+0430"]),
        ("你好,请", "您好\uff0c请", ["character 1: 你 U+4F60 → 您 U+60A8", "character 3: , U+002C → \uff0c U+FF0C"]),
        ("Hello", "World", []),
        ("same", "same", []),
    ],
)  # fmt: skip
def test_explain_tells_each_place_where_two_texts_differ(this, other, told):
    assert list(changes(this, other)) == told


def test_explain_compares_long_texts_in_time_and_tells_them_in_few_lines():
    told = list(changes("é" * 100_000, "è" * 100_000))
    assert len(told) == 1
    assert told[0].endswith("…")
    assert len(list(changes("-é" * 40, "-è" * 40))) == 9


def test_a_clip_is_purged_by_what_was_said_in_every_format(quick):
    options = (*ESPEAK, "--voice", "en-gb", "--param", "pitch=60")
    said = quick("say", TEXT, *options, "-o", "a.mp3", "--json").json
    assert said["outcome"] == "led"
    assert quick("purge", "--text", TEXT, *ESPEAK, "--voice", "en-gb").out.startswith("nothing was stored under ")
    assert quick("purge", "--text", TEXT, *options, "--format", "mp3").out == f"removed {said['key']}\n"
    assert quick("say", TEXT, *options, "-o", "b.wav", "--json").json["outcome"] == "led"
    assert quick("purge", "--text", "-", *options, stdin=TEXT.encode()).out == f"removed {said['key']}\n"


def test_a_clip_is_purged_by_its_request_or_its_key(quick):
    key = quick("say", TEXT, *ESPEAK, "--json").json["key"]
    assert quick("purge", "--request", request(), *ESPEAK).out == f"removed {key}\n"
    assert quick("say", TEXT, *ESPEAK, "--json").json["outcome"] == "led"
    assert quick("purge", key).out == "removed\n"
    assert quick("purge", key).out == "nothing was stored under this key\n"


def test_with_api_keys_explain_and_purge_must_be_told_whose_clip_it_is(quick):
    quick("new-key", "acme", "--file", "keys.txt")
    keys = {"SAYONCE_SECURITY__API_KEYS_FILE": "keys.txt"}
    quick("warm", "-", *ESPEAK, "--tenant", "acme", stdin=TEXT.encode(), **keys)
    assert "--tenant" in quick.fails(2, "purge", "--text", TEXT, *ESPEAK, **keys)
    assert "name it with --tenant" in quick("explain", request(), *ESPEAK, **keys).err
    explained = quick("explain", request(), *ESPEAK, "--tenant", "acme", "--json", **keys).json
    assert explained["stored"]["take"] == "sqlite"
    purged = quick("purge", "--text", TEXT, *ESPEAK, "--tenant", "acme", **keys)
    assert purged.out == f"removed {explained['key']}\n"


def test_explain_tells_a_store_that_does_not_answer_from_one_without_the_clip(quick):
    explained = quick("explain", request(), *ESPEAK, "--store", "redis://127.0.0.1:1", "--json").json
    assert explained["stored"] == {"take": "unknown", "clip": "unknown"}
