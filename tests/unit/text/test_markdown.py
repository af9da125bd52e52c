"""Markdown is read as a person reads it aloud, by engines whose texts are Markdown; and texts with nothing to speak."""

import base64
import contextlib
import io
import json
import threading
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayonce.errors import ConfigError, InvalidRequest
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.engines import build_engine
from sayonce.speech.request import parse_request
from sayonce.testing import StubEngine
from sayonce.text.markdown import read_markdown
from tests.helpers.audio_samples import by_ffmpeg
from tests.helpers.serving import serving, speak

LONGEST = 5000


def spoken(text):
    return read_markdown(text, LONGEST).text


@pytest.mark.parametrize(
    ("written", "read_aloud"),
    [
        ("Hello there.", "Hello there."),
        ("# Opening hours\n\nFrom nine to five.", "Opening hours.\nFrom nine to five."),
        ("Opening hours\n=====\n\nFrom nine", "Opening hours.\nFrom nine"),
        ("## 步骤\n\n打开设置", "步骤。\n打开设置"),
        ("## Ready?\n\nYes", "Ready?\nYes"),
        ("Take **two** of *these*, ***now***, ~~or~~ and __never__ _more_.", "Take two of these, now, or and never more."),
        ("**注意：**不要**关闭**电源", "注意：不要关闭电源"),
        ("- milk\n- eggs\n- bread", "milk.\neggs.\nbread"),
        ("1. Open it.\n1. Close it.\n   - gently\n1. Leave", "1. Open it.\n2. Close it.\ngently.\n3. Leave"),
        ("3) 打开\n4) 关闭", "3、打开。\n4、关闭"),
        ("1986. A great year", "1986. A great year"),
        ("See [our page](https://example.com/a_b?c=d#e).", "See our page."),
        ("See <https://www.example.com/a/b>.", "See example.com."),
        ("See https://user:word@example.com:80/a,b. Or (http://x.org/y), 见https://例子.com/路。好", "See example.com:80. Or (x.org), 见例子.com。好"),
        ("Write to <mailto:me@example.com?subject=Hi>.", "Write to me@example.com."),
        ("![a red *door*](door.png)", "a red door"),
        ("Call `open_door()` first.", "Call open_door() first."),
        ("Before:\n\n```python\nprint(1)\n```\n\nAfter", "Before:\nAfter"),
        ("| Name | Price |\n|---|---:|\n| Tea | $2 |\n| Cake | |", "Name: Tea, Price: $2.\nName: Cake"),
        ("| 名称 | 价格 |\n|---|---|\n| 茶 | 2元 |", "名称：茶，价格：2元"),
        ("| | A |\n|---|---|\n| Tea | 1 |", "Tea, A: 1"),
        ("| A | B |\n|---|---|", "A, B"),
        ("> Be quick.\n>\n> Be good.", "Be quick.\nBe good."),
        ("First\n\n---\n\nSecond", "First.\nSecond"),
        ("Good 😀 morning 👍🏽", "Good morning"),
        ("好的 😀\n\n再见", "好的。\n再见"),
        ("First line\nsecond line<br>third\\\nfourth", "First line\nsecond line\nthird\nfourth"),
        ("H<sub>2</sub>O, x<sup>2</sup>, <b>bold</b> &amp; <span class='x'>plain</span><!-- not seen -->", "H2O, x^2, bold & plain"),
        ("As seen[^1].\n\n[^1]: In a book", "As seen.\nIn a book"),
        (r"Five \* so, 2\_3", "Five * so, 2_3"),
    ],
)  # fmt: skip
def test_markdown_is_read_as_what_it_shows(written, read_aloud):
    assert spoken(written) == read_aloud


@pytest.mark.parametrize(
    ("text", "read_aloud"),
    [
        ("2*3*4 and 5 * 3 * 2", "2×3×4 and 5 * 3 * 2"),
        ("snake_case_name", "snake_case_name"),
        ("a < b and c > d, I <3 you", "a < b and c > d, I <3 you"),
        ("if x <y and z> 3", "if x <y and z> 3"),
        ("if a<b and c>d, else p<q r>s", "if a<b and c>d, else p<q r>s"),
        ("What is 6 times 7?\n\n42.", "What is 6 times 7?\n42."),
        ("1986.\n\nA great year", "1986.\nA great year"),
        ("- 7)\n- x", "7.\nx"),
        ("1. 2. 3. go", "1.\n2.\n3. go"),
        ("1.\n   | A |\n   |---|\n   | b |", "1.\nA: b"),
        ("#1 and #tag", "#1 and #tag"),
        ("    An indented paragraph", "An indented paragraph"),
        ("[Note]: important", "[Note]: important"),
        ("床前明月光\n疑是地上霜", "床前明月光\n疑是地上霜"),
        ("价格*数量", "价格*数量"),
        ("> " * 150 + "deep", ("> " * 150 + "deep")),
    ],
)
def test_nothing_that_only_looks_like_markdown_is_lost(text, read_aloud):
    assert spoken(text) == read_aloud


def test_markup_that_is_left_out_is_told():
    reading = read_markdown("Look 😀:\n\n~~~\nx = 1\n~~~\n\n```\ny\n```", LONGEST)
    assert reading.told == "code, U+1F600"


@given(st.text(st.sampled_from("ab1 \n#*_`~[]()!<>|-+.:\\&;/^中，。"), max_size=60))
def test_every_letter_outside_of_code_is_read(text):
    if "```" in text or "~~~" in text or "<" in text or "&" in text or "](" in text:
        return
    assert spoken(text) or "1" not in text
    letters = [each for each in text if each in "ab中"]
    assert [each for each in spoken(text) if each in "ab中"] == letters


@pytest.mark.parametrize(
    "text", ["[" * 4096, "![[" * 1300, "[a](" * 1024, "|" + "x" * 2000 + "|\n|-|\n" + "|b|\n" * 500]
)
def test_no_text_makes_the_reader_of_markdown_slow_or_its_result_long(text):
    assert len(spoken(text)) < LONGEST + len(text)


def test_a_table_whose_short_rows_would_be_filled_up_to_thousands_of_cells_is_read_as_text():
    wide, rows = "|" + "a|" * 400, "|b|\n" * 500
    assert spoken(f"{wide}\n|{'-|' * 400}\n{rows}").startswith(f"{wide}\n|-|-|")
    assert spoken(f"|a|b|\n|-|-|\n{rows}").startswith("a: b.\na: b.")


class Markdown(StubEngine):
    text = "markdown"


class Silent(StubEngine):
    empty = "silence"


class SilentMarkdown(Markdown):
    empty = "silence"


async def test_an_engine_whose_texts_are_markdown_gets_what_is_read_aloud():
    engine = Markdown()
    async with serving(engine) as client:
        answer = await speak(client, "# Hi\n\n**You** 😀\n\n```\ncode\n```")
        again = await speak(client, "Hi\n==\n\n*You*")
    assert [each.text for each in engine.calls] == ["Hi.\nYou"]
    assert answer.headers["x-sayonce-ignored"] == "input: code, U+1F600"
    assert "hit" in again.headers["cache-status"]
    assert again.content[44:] == answer.content[44:]


async def test_an_engine_gets_a_text_as_it_is_unless_it_is_told_otherwise():
    engine = StubEngine()
    async with serving(engine) as client:
        await speak(client, "# Hi *you*")
    assert [each.text for each in engine.calls] == ["# Hi *you*"]


async def test_a_strict_server_refuses_to_leave_code_out():
    async with serving(Markdown(), server__strict=True) as client:
        answer = await speak(client, "Look:\n\n```\ncode\n```")
    assert answer.status_code == 400
    assert "code" in answer.json()["error"]["message"]


async def test_a_table_that_is_too_long_when_it_is_read_is_refused():
    async with serving(Markdown()) as client:
        answer = await speak(client, "|" + "x" * 2000 + "|\n|-|\n" + "|b|\n" * 400)
    assert answer.status_code == 400
    assert "as it is read aloud" in answer.json()["error"]["message"]


async def test_long_markdown_is_read_beside_the_event_loop(monkeypatch):
    threads = []

    def reading(text, longest):
        threads.append(threading.current_thread())
        return read_markdown(text, longest)

    monkeypatch.setattr("sayonce.text.markdown.read_markdown", reading)
    async with serving(Markdown()) as client:
        await speak(client, "a*" * 2000)
        await speak(client, "Short.")
    assert [thread is threading.main_thread() for thread in threads] == [False, True]


@pytest.mark.parametrize(
    ("engine", "text"),
    [(Silent, ""), (Silent, " \n"), (Silent, "…"), (Silent, "?!"), (SilentMarkdown, "```\ncode\n```"), (SilentMarkdown, "😀"), (SilentMarkdown, "---")],
)  # fmt: skip
async def test_a_text_with_nothing_to_speak_is_silence_where_that_is_wished(engine, text):
    engine = engine()
    async with serving(engine) as client:
        answer = await speak(client, text)
        assert answer.status_code == 200, answer.text
        with wave.open(io.BytesIO((await speak(client, text)).content)) as sound:
            assert sound.getnframes() == sound.getframerate() // 5
            assert not any(sound.readframes(sound.getnframes()))
        for audio_format in ("mp3", "opus", "aac", "flac", "pcm", "mulaw"):
            assert (await speak(client, text, response_format=audio_format)).status_code == 200
    assert engine.calls == []


@pytest.mark.parametrize(("engine", "text"), [(StubEngine, ""), (Markdown, "```\ncode\n```"), (Markdown, "😀")])
async def test_a_text_with_nothing_to_speak_is_refused_otherwise(engine, text):
    async with serving(engine()) as client:
        answer = await speak(client, text)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input"


PUNCTUATION = [".", "...", "!", "?!", "¿?", "—", "( )", "“…”", "。", "、\n！", "\u200b."]


@pytest.mark.parametrize(("kind", "voice"), [("espeak", "en-us"), ("espeak", "cmn"), ("espeak", "uk"), ("hibari", "heart")])  # fmt: skip
async def test_punctuation_alone_is_silence_at_the_embedded_engines(kind, voice):
    """As to a person it is a pause: nothing is left out, so there is nothing to tell, and nothing to refuse."""
    async with serving(build_engine(kind, {}), server__strict=True) as client:
        for text in PUNCTUATION:
            answer = await speak(client, text, model=kind, voice=voice)
            assert (answer.status_code, answer.headers.get("x-sayonce-ignored")) == (200, None), (text, answer.text)
            with wave.open(io.BytesIO(answer.content)) as sound:
                assert not any(sound.readframes(sound.getnframes()))
        assert "hit" in answer.headers["cache-status"]
        assert client.service.cache.counters["engine calls"] == 0


@pytest.mark.parametrize("audio_format", ["mp3", "opus", "aac", "flac", "wav", "pcm", "mulaw"])
@pytest.mark.parametrize("how", [{}, {"stream": False}, {"stream_format": "sse"}], ids=["streamed", "whole", "events"])
async def test_punctuation_alone_is_silence_in_every_format_and_in_no_store(audio_format, how, tmp_path):
    async with serving(build_engine("espeak", {}), store=f"sqlite:///{tmp_path}/clips.db") as client:
        answer = await speak(client, ".", model="espeak", voice="en", response_format=audio_format, **how)
        assert answer.status_code == 200, answer.text
        clip = answer.content
        if "stream_format" in how:
            events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
            clip = b"".join(base64.b64decode(event["audio"]) for event in events if event["type"].endswith("delta"))
        raw = {"pcm": ("s16le", {"ar": "24000"}), "mulaw": ("mulaw", {"ar": "8000"})}
        container, options = raw.get(audio_format, (audio_format, {}))
        samples, rate = by_ffmpeg(clip, container, **options)
        assert (len(samples) / rate, abs(samples).max() < 10) == (pytest.approx(0.2, abs=0.1), True)
        await client.service.cache.settle()
        assert (await client.service.cache.store.stats()).entries == 0


@pytest.mark.parametrize("kind", ["espeak", "hibari"])
async def test_a_text_with_more_or_less_than_punctuation_and_nothing_to_speak_is_refused(kind):
    engine = build_engine(kind, {})
    async with serving(engine) as client:
        await engine.load()
        engine.ready.set()
        for text in ("", " \n", "\u200b", "😀", "😀 .", "***", "~", "†", "\x01", "\x01."):
            answer = await speak(client, text, model=kind, voice=engine.default_voice)
            assert answer.status_code == 400, text
            assert answer.json()["error"]["param"] == "input"


@pytest.mark.parametrize("text", ["```\n.\n```", "---", "- "])
async def test_markup_alone_is_refused_where_punctuation_alone_is_silence(text):
    engine = build_engine("espeak", {"text": "markdown"})
    async with serving(engine) as client:
        assert (await speak(client, text, model="espeak", voice="en")).status_code == 400
        assert (await speak(client, "**…**", model="espeak", voice="en")).status_code == 200


async def test_an_engine_that_passes_texts_on_is_asked_for_punctuation_too():
    engine = StubEngine()
    async with serving(engine) as client:
        for text in (".", "…", "?!"):
            await speak(client, text)
    assert [each.text for each in engine.calls] == [".", "…", "?!"]


@pytest.mark.parametrize("text", ["#", "%", "&", "@", "/", "\\", "§", "¶", "‰", "′", "＆", "% & ."])
async def test_punctuation_that_has_words_is_spoken_also_where_silence_is_wished(text):
    """Unicode counts ``&`` as punctuation, and nobody reads it as a pause."""
    for empty in ("refuse", "silence"):
        catalogue = Catalogue([build_engine("hibari", {"empty": empty}), build_engine("espeak", {"empty": empty})])
        for model, voice in (("hibari", "heart"), ("espeak", "es"), ("espeak", "de")):
            with contextlib.suppress(InvalidRequest):  # that names a sign for which there are no words
                assert not parse_request({"model": model, "voice": voice, "input": text}, catalogue).is_silence


async def test_a_missing_text_is_refused_also_where_empty_texts_are_silence():
    async with serving(Silent()) as client:
        for body in ({"voice": "anna"}, {"voice": "anna", "input": None}):
            answer = await client.post("/v1/audio/speech", json={"model": "stub", **body})
            assert answer.status_code == 400


async def test_a_sign_alone_is_something_to_speak():
    engine = Silent()
    async with serving(engine) as client:
        await speak(client, "+")
    assert [each.text for each in engine.calls] == ["+"]


def test_the_options_for_texts_are_named_in_an_engines_section():
    engine = build_engine("one", {"kind": "espeak", "text": "markdown", "empty": "silence"})
    assert (engine.text, engine.empty) == ("markdown", "silence")
    with pytest.raises(ConfigError, match=r"engines\.one\.text"):
        build_engine("one", {"kind": "espeak", "text": "html"})
