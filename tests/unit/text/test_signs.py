"""Nothing of a text is silently left out: signs are spoken as their words are, ornaments are told, the rest is refused."""

import contextlib
import re
import time
import unicodedata
from functools import lru_cache
from hashlib import blake2b

import pytest
from hibari import Hibari
from hypothesis import given, settings
from hypothesis import strategies as st

from sayonce.errors import InvalidRequest
from sayonce.speech.engines import build_engine
from sayonce.speech.engines.hibari import _phonemes
from sayonce.text import sign_words, signs
from sayonce.text.reading import read
from sayonce.text.spelling import Unspeakable
from tests.helpers.engine_speech import pcm
from tests.helpers.serving import serving, speak
from tests.helpers.spoken_texts import (
    AS_WORDS,
    CARRIERS,
    ESPEAK,
    EVERYWHERE,
    HIBARI,
    NAMED,
    NUMBERS,
    VOICES,
    catalogue,
    plan,
    spoken,
)

CATEGORIES = ("Nd", "No", "Nl", "Lm", "Sm", "Sc", "Sk", "So", "Pd", "Pc", "Po", "Me")

SIGNS = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in CATEGORIES]

SIGNS += map(
    chr,
    [
        *range(0x300, 0x34F),
        *range(0x350, 0x370),
        *range(0x1AB0, 0x1ACF),
        *range(0x1DC0, 0x1E00),
        *range(0x20D0, 0x20F1),
    ],
)

SIGNS += "\ue000\uf8ff\U000f0000\U0010fffd\u0378\ufdd0\u20cf\U0001fbff\U0001df00\u0600\u064e\u093f"

DASHES = "-\u058a\u05be゠\u1400\u1806‐‑‒–—―⸗⸚⸺⸻⹀⹝︱︲﹘﹣－\U00010ead"

PAUSES = "!\"',./:;?`|｜｀´΄ʻʼʽˋ꞉¡·¿՚՛՜՝՞՟։׀׃׆׳״،؍؛؞؟۔।॥๏๚๛‥…‧‸‼‽⁇⁈⁉⁏⁓、。〃・︐︑︒︓︔︕︖︙︰﹅﹆﹐﹑﹒﹔﹕﹖﹗！＂＇，．／：；？｡､･"

PUNCTUATION = frozenset(DASHES + PAUSES)
"""Reviewed: dashes, separators, quotes and other punctuation, which are a pause or nothing in some language here."""

KEYCAP = "\u20e3"
"""How a digit is shown: "5" with it is five."""


def silently_left_out(engine, voice, heard, language, *, everywhere):
    """Return the signs without which a carrier phrase is the same, though they were neither told nor refused."""
    refused, said, carriers = {}, lru_cache(heard), CARRIERS[language]
    for number, carrier in enumerate(carriers):
        without = [said(engine.read(carrier.replace("{}", gap), voice).text) for gap in ("", " ")]
        as_letters = re.compile(re.escape(carrier).replace(r"\{\}", " ?[0-9A-Za-zÀ-ʯα-ω]+ ?"))
        for sign in SIGNS if everywhere else SIGNS[number :: len(carriers)]:
            try:
                reading = engine.read(carrier.replace("{}", sign), voice)
            except InvalidRequest as error:
                refused[sign] = error.message
                continue
            if reading.ignored or sign == KEYCAP or as_letters.fullmatch(reading.text):
                continue
            if said(reading.text) in without:
                yield sign
    unnamed = [sign for sign, message in refused.items() if not NAMED.search(message)]
    assert not unnamed


@EVERYWHERE
@pytest.mark.parametrize("language", VOICES)
def test_every_sign_is_spoken_by_espeak_or_told_or_refused(language, everywhere, phonemes):
    voice = VOICES[language]
    left_out = silently_left_out(ESPEAK, voice, lambda text: phonemes(text, voice), language, everywhere=everywhere)
    assert {*left_out} <= PUNCTUATION


@EVERYWHERE
def test_every_sign_is_spoken_by_hibari_or_told_or_refused(everywhere, network_input):
    assert {*silently_left_out(HIBARI, "heart", network_input, "en", everywhere=everywhere)} <= PUNCTUATION


PAIRS = [(language, *pair) for language, pairs in AS_WORDS.items() for pair in pairs]


@pytest.mark.parametrize(("language", "sign", "words"), PAIRS)
def test_espeak_gets_for_a_sign_what_it_gets_for_its_words(language, sign, words, phonemes):
    voice = VOICES[language]
    assert phonemes(spoken(sign, voice=voice), voice) == phonemes(words, voice)


@pytest.mark.parametrize(("sign", "words"), AS_WORDS["en"] + [("€5.50", "five euros and fifty cents")])
def test_the_network_of_hibari_gets_for_a_sign_what_it_gets_for_its_words(sign, words, network_input):
    assert network_input(spoken(sign, HIBARI)) == network_input(words)


STAYS = "3-5, 555-1234, 2026-01-13, COVID-19, F-16, e-mail, well-known, - item, a — b, pages 3 - 5, --verbose, 5 – 3, x | y, -x, 3-5-year, A-4, x - y"


@pytest.mark.parametrize("language", VOICES)
@pytest.mark.parametrize("text", STAYS.split(", "))
def test_hyphens_and_dashes_that_are_punctuation_stay_as_they_are(language, text):
    assert read(text, language).text == text


def test_a_chinese_model_number_is_no_negative_number():
    assert spoken("东风-41导弹", voice="cmn") == "东风-41导弹"


@pytest.mark.parametrize(
    ("text", "rest", "told"),
    [
        ("Hello 😀!", "Hello!", "U+1F600"),
        ("Hi👍🏽there", "Hi there", "U+1F44D U+1F3FD"),
        ("👨\u200d👩\u200d👧 family", "family", "U+1F468 U+200D U+1F469 U+200D U+1F467"),
        ("🇩🇪 and 1️⃣", "and 1", "U+1F1E9 U+1F1EA"),
        ("As said¹, it is.² _So_ x\u0301d", "As said, it is. So xd", "U+00B9, U+00B2, U+0301, U+005F"),
        ("• one\n• two", "one\ntwo", "U+2022"),
        ("a → b -> c", "a b c", "U+2192, U+002D U+003E"),
        ("Title\n=====\n★ ok ✓", "Title\n\nok", "U+003D U+003D U+003D U+003D U+003D, U+2605, U+2713"),
        ("**bold** Foo™", "bold Foo", "U+2122, U+002A"),
    ],
)
def test_ornaments_are_left_out_and_told_by_code_point(text, rest, told):
    reading = ESPEAK.read(text, "en-us")
    assert (reading.text, reading.told) == (rest, told)


def test_the_header_that_tells_of_ornaments_is_bounded():
    told = ESPEAK.read("Hi " + "".join(map(chr, range(0x1F600, 0x1F640))), "en-us").told
    assert (told.count("U+"), told.endswith(", ...")) == (16, True)


@pytest.mark.parametrize("text", ["😀", "™ → •", "\u200b\ufeff", "====="])
def test_a_text_of_nothing_but_ornaments_is_an_empty_text(text):
    with pytest.raises(InvalidRequest, match="'input' is empty; it is the text to speak") as refused:
        plan(text)
    assert refused.value.param == "input"


def test_a_strict_server_refuses_ornaments_by_code_point():
    with pytest.raises(InvalidRequest, match=r"U\+1F600.*server\.strict"):
        plan("Hello 😀", offered=catalogue(strict=True))
    assert plan("Hello", offered=catalogue(strict=True)).request.utterance.text == "Hello"


@pytest.mark.parametrize(
    "text", ["5 ⨌ 3", "5 ¤", "a ⋔ b", "x\u0305", "5\u20dd", "¯x", "a \ue000", "\U000f0000 a", "\u0600 5", "x ˈ y"]
)
@pytest.mark.parametrize("model", ["hibari", "espeak"])
def test_a_sign_without_words_is_refused_by_its_name(text, model):
    with pytest.raises(InvalidRequest, match=r"U\+[0-9A-F]{4,5}( [A-Z ]+)?\)") as refused:
        plan(text, model)
    assert refused.value.param == "input"


async def test_in_other_languages_a_sign_that_is_passed_over_is_refused_and_all_else_is_as_before():
    engine = build_engine("espeak", {})
    await engine.load()
    for text in ("Cuesta -5 grados", "Es ≤ 18", "5 ‰", "páginas 3–5", "5′", "a_b", "Son 5\u20dd"):
        with pytest.raises(InvalidRequest, match=r"U\+[0-9A-F]{4} [A-Z -]+\)"):
            await pcm(engine, text, "es")
    assert engine.read("４５ ٥ ①", "es").text == "45 5 1"
    with pytest.raises(InvalidRequest, match=r"U\+E000"):
        engine.read("a \ue000", "es")
    for text in ("Cuesta 5 €", "3 + 4 = 7", "e-mail, 3-5"):
        assert engine.read(text, "es").text == text
        assert len(await pcm(engine, text, "es")) > 4000
    await engine.close()


def test_hibari_reads_a_long_word_to_its_end():
    model, word = Hibari("heart", threads=1), "Grundstuecksverkehrsgenehmigungszustaendigkeit"
    assert _phonemes(model, word) != _phonemes(model, word[:24])


def test_a_row_of_too_many_marks_is_refused_before_it_is_composed():
    for model, marks in [("hibari", "\u0301"), ("openai", "\u0316\u0301"), ("espeak", "\u0f73")]:
        with pytest.raises(
            InvalidRequest, match=rf"more than 30 combining marks in a row, from U\+{ord(marks[0]):04X} on"
        ):
            plan("a" + marks * 31, model, voice="heart" if model == "hibari" else "en-us")
    assert plan("a" + "\u0301" * 30, "openai", voice="v").request.utterance.text


SLOW_TO_READ = "|,_,a_,5–,5--,-5,5,5 ,5 – ,5.,5',°5,5/,$5,$,a·, · ,~5,*,* ,^,^_,⅓,²,a²,Ⅳ,①,😀,👨\u200d,-,->,<-,=,<, a,=- ,é,中,я,ә,٥,𝐇,ｆ,5°5',!¹,aa¹,儿,兄,一会儿,아,㗎,ー,1️⃣,5 ✕ ,\\,5 thousand ,+/-,1,0,1 ,05 ,1.,1:,1',020 1234 ,1000 000 ,$1.5 ,1/2. "


@pytest.mark.parametrize("part", [*SLOW_TO_READ.split(","), pytest.param("-" + "1" * 4095, id="digits")])
def test_the_longest_text_is_read_in_time_that_the_event_loop_can_spare(part):
    """Seven times what is said in the documents, by the processor's clock, since this machine may be busy."""
    text = (part * 4096)[:4096]
    for model, voice in [("espeak", "en-us"), ("espeak", "cmn"), ("espeak", "es"), ("hibari", "heart")]:
        began = time.process_time()
        with contextlib.suppress(InvalidRequest):
            plan(text, model, voice=voice)
        assert time.process_time() - began < 0.15


def test_a_text_of_nothing_but_signs_is_refused():
    with pytest.raises(InvalidRequest, match="more than 1024 signs"):
        plan("½" * 4096, "espeak")
    assert plan("½ " * 1024, "espeak").request.utterance.text


def test_hibari_speaks_markup_of_its_own_as_the_text_that_it_is(network_input):
    for text in ("Call [five](/sIks/) now.", "a[1](2)", "see [the docs](example)"):
        without = re.sub(r"\(.*?\)", "", text)
        assert network_input(spoken(text, HIBARI)) != network_input(spoken(without, HIBARI))
        assert "[" not in spoken(text, HIBARI)


@pytest.mark.parametrize(("text", "voice"), [("x^2", "it"), ("x*y", "ar"), ("#5", "pt"), ("5–3", "es")])
def test_a_sign_in_ascii_that_another_language_may_pass_over_is_looked_at(text, voice):
    assert signs.signs_of(spoken(text, voice=voice))


UNSEEN = ["\u200b", "\u00ad", "\ufeff", "\u2060", "\u200e", "\u202a", "\u200c", "\u200d", "\u2066", "\ufe0f"]


@given(st.text("ab é", min_size=1, max_size=8), st.lists(st.tuples(st.integers(0, 8), st.sampled_from(UNSEEN))))
def test_invisible_characters_are_neither_heard_nor_keyed(text, unseen):
    text, with_unseen = f"x{text}x", list(f"x{text}x")
    for position, character in unseen:
        with_unseen.insert(position, character)
    assert plan("".join(with_unseen)).take_key == plan(text).take_key


@pytest.mark.parametrize(("text", "voice"), [("می\u200cخواهم", "fa"), ("क्\u200dष", "hi"), ("ภาษา\u200bไทย", "th")])
def test_an_invisible_character_stays_where_its_script_needs_it(text, voice):
    assert spoken(text, voice=voice) == text


@given(st.text(max_size=30))
def test_the_reading_of_a_text_is_read_as_itself(text):
    """What was left in cannot be taken for another sign later: the key holds what is spoken."""
    try:
        once = read(unicodedata.normalize("NFC", text).strip(), "en").text
        assert read(once, "en").text == once
    except Unspeakable:
        pass


@settings(deadline=None)
@given(st.text(max_size=30))
def test_an_engine_that_passes_texts_on_gets_them_untouched(text):
    text = f"−5 😀 \u200b{text}x"
    try:
        asked = plan(text, "openai", voice="v")
    except InvalidRequest:
        return
    assert (asked.request.utterance.text, asked.request.ignored) == (unicodedata.normalize("NFC", text), "")


async def test_a_sign_is_heard_as_its_words_to_the_last_sample():
    for kind, text, words in [
        ("espeak", "It is −5.", "It is minus 5."),
        ("hibari", "It is -$5.", "It is minus five dollars."),
    ]:
        engine = build_engine(kind, {})
        await engine.load()
        assert await pcm(engine, spoken(text, engine)) == await pcm(engine, words)
        await engine.close()


def test_other_words_for_signs_have_another_version():
    """A change of words or rules raises ``VERSION``, as the same text is another sound then; both are written down here."""
    known = [*sign_words.WORDS, *sign_words.MEASURES, *sign_words.CURRENCIES, "−", "‑", "½", "²", "^", "*", "~"]
    texts = [carrier.replace("{}", sign) for sign in known for carrier in CARRIERS["en"]]
    texts += [sign for pairs in AS_WORDS.values() for sign, _ in pairs]
    said = [read(text, language).text for language in sign_words.LANGUAGES for text in texts]
    said += [spoken(numeral, HIBARI) for numeral, _ in NUMBERS]
    assert (sign_words.VERSION, blake2b("\n".join(said).encode(), digest_size=8).hexdigest()) == (8, "a3c7cc199a1b0126")


async def test_ornaments_are_told_in_a_header_that_is_the_same_on_hit_and_miss():
    async with serving(build_engine("hibari", {})) as client:
        answers = [await speak(client, "Hello 😀 • there", model="hibari", voice="heart") for _ in range(2)]
        other = await speak(client, "Hello there", model="hibari", voice="heart")
    assert [answer.headers["x-sayonce-ignored"] for answer in answers] == ["input: U+1F600, U+2022"] * 2
    assert "hit" in answers[1].headers["cache-status"]
    assert "hit" in other.headers["cache-status"]
    assert "x-sayonce-ignored" not in other.headers
