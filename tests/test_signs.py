"""Nothing of a text is silently left out: signs are spoken as their words are, ornaments are told, the rest is refused."""

import ctypes
import re
import unicodedata
from hashlib import blake2b

import espeakng_loader
import pytest
from hibari import Hibari
from hypothesis import given
from hypothesis import strategies as st

from hearing import pcm
from sayonce.cache import Cache
from sayonce.errors import InvalidRequest
from sayonce.speech.engines import build_engine
from sayonce.speech.request import Catalogue, parse_request
from sayonce.speech.synthesis import Synthesizer
from sayonce.text import signs, tables
from sayonce.text.reading import read
from serving import serving, speak

ESPEAK, HIBARI = build_engine("espeak", {}), build_engine("hibari", {})
VOICES = {"en": "en-us", "cmn": "cmn", "fr": "fr-fr", "de": "de", "ru": "ru"}
CARRIERS = {
    "en": ["It is {}5 today", "about 5{} today", "say {} now", "5 {} 3"],
    "cmn": ["气温{}5度", "大约5{}左右", "请说 {} 吧", "5 {} 3"],
    "fr": ["Il fait {}5 ici", "environ 5{} ici", "dites {} bien", "5 {} 3"],
    "de": ["Es ist {}5 heute", "etwa 5{} heute", "sag {} jetzt", "5 {} 3"],
    "ru": ["Сегодня {}5 тут", "около 5{} тут", "скажи {} да", "5 {} 3"],
}
SIGNS = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Sm", "Sc", "Pd")]
SIGNS += [chr(code) for code in range(0xA0, 0x3400) if unicodedata.category(chr(code)) == "So"]
SIGNS += [chr(code) for code in range(0x1F300, 0x1FB00) if unicodedata.category(chr(code)) == "So"]
NAMED = re.compile(r"U\+[0-9A-F]{4}|does not read it|not English")
PUNCTUATION = frozenset("-|\u058a\u05be゠\u1400\u1806‐‑‒–—―⸗⸚⸺⸻⹀⹝〜︱︲﹘﹣－｜\U00010ead")
"""Reviewed: dashes and separators between words, which are a pause or nothing in every language here."""


def spoken(text, engine=ESPEAK, voice=None):
    return engine.read(text, voice or engine.default_voice).text


@pytest.fixture(scope="module")
def phonemes():
    """Tell phonemes as espeak-ng's library does."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    assert library.espeak_Initialize(2, 100, espeakng_loader.get_data_path().encode(), 0x8000) > 0
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def tell(text, voice):
        library.espeak_SetVoiceByName(ESPEAK._voices.file(voice).encode())
        buffer = ctypes.create_string_buffer(text.encode())
        rest, told = ctypes.c_void_p(ctypes.addressof(buffer)), []
        while rest.value:
            told.append(library.espeak_TextToPhonemes(ctypes.byref(rest), 1, 0))
        return told

    return tell


@pytest.fixture(scope="module")
def network_input():
    model = Hibari("heart", threads=1)
    return lambda text: [model.ids(sentence) for sentence in model.phonemize(text)]


def silently_left_out(engine, voice, heard, language):
    """Return the signs without which a carrier phrase is the same, though they were neither told nor refused."""
    refused = {}
    for carrier in CARRIERS[language]:
        without = [heard(carrier.replace("{}", gap)) for gap in ("", " ")]
        for sign in SIGNS:
            try:
                reading = engine.read(carrier.replace("{}", sign), voice)
            except InvalidRequest as error:
                refused[sign] = error.message
                continue
            if not reading.ignored and heard(reading.text) in without:
                yield sign
    unnamed = [sign for sign, said in refused.items() if not NAMED.search(said)]
    assert not unnamed


@pytest.mark.parametrize("language", VOICES)
def test_every_sign_is_spoken_by_espeak_or_told_or_refused(language, phonemes):
    voice = VOICES[language]
    assert {*silently_left_out(ESPEAK, voice, lambda text: phonemes(text, voice), language)} <= PUNCTUATION


def test_every_sign_is_spoken_by_hibari_or_told_or_refused(network_input):
    assert {*silently_left_out(HIBARI, "heart", network_input, "en")} <= PUNCTUATION


AS_WORDS = {
    "en": [
        ("It is −5°C.", "It is minus 5 degrees Celsius."), ("‑5", "minus 5"), ("Change −3%", "Change minus 3 percent"),
        ("temp:-5", "temp:minus 5"), ("3*4", "3 times 4"), ("-$5", "minus 5 dollars"),
        ("≤ 18 only", "less than or equal to 18 only"), ("20 ℃", "20 degrees Celsius"), ("5 ‰", "5 per mille"),
        ("(-5)", "(minus 5)"), ("T=-5", "T equals minus 5"), ("–5 °C", "minus 5 degrees Celsius"),
        ("5 − 3", "5 minus 3"), ("10-3=7", "10 minus 3 equals 7"), ("-½", "minus one half"),
        ("2½ cups", "2 and one half cups"), ("√2", "the square root of 2"), ("5€", "5 euros"), ("$5 million", "5 million dollars"),
        ("10⁻⁵", "10 to the power of minus 5"), ("a ≠ b", "a is not equal to b"), ("10^-5", "10 to the power of minus 5"),
        ("C++", "C plus plus"), ("② 𝐇𝐢", "2 Hi"), ("US$5", "US 5 dollars"), ("5㎏", "5 kilograms"), ("№5", "number 5"), ("x<-5", "x less than minus 5"),
        ("1 °F", "1 degree Fahrenheit"), ("~5", "about 5"), ("5~6", "5 to 6"),
    ],
    "cmn": [
        ("气温 -5度", "气温 负5度"), ("跌了-3%", "跌了负百分之3"), ("气温-5度", "气温负5度"), ("5-3=2", "5减3等于2"), ("≥18岁", "大于等于18岁"),
        ("¥100万", "100万元"), ("5～10人", "5到10人"), ("-5℃", "负5摄氏度"), ("利润-3.5亿元", "利润负3.5亿元"), ("½", "2分之1"), ("50％", "百分之50"),
    ],
    "fr": [("Il fait -5 degrés", "Il fait moins 5 degrés"), ("-3 %", "moins 3 pour cent"), ("5 €", "5 euros"), ("n°5", "numéro 5")],
    "de": [("Es ist -5 °C", "Es ist minus 5 Grad Celsius"), ("5 ‰", "5 Promille"), ("(-5)", "(minus 5)"), ("½", "ein halb")],
    "ru": [("-5 %", "минус 5 процентов"), ("1 %", "1 процент"), ("3 $", "3 доллара"), ("½", "одна вторая"), ("T=-5", "T равно минус 5")],
}  # fmt: skip
PAIRS = [(language, *pair) for language, pairs in AS_WORDS.items() for pair in pairs]


@pytest.mark.parametrize(("language", "sign", "words"), PAIRS)
def test_espeak_gets_for_a_sign_what_it_gets_for_its_words(language, sign, words, phonemes):
    voice = VOICES[language]
    assert phonemes(spoken(sign, voice=voice), voice) == phonemes(words, voice)


@pytest.mark.parametrize(("sign", "words"), AS_WORDS["en"] + [("€5.50", "five euros and fifty cents")])
def test_the_network_of_hibari_gets_for_a_sign_what_it_gets_for_its_words(sign, words, network_input):
    assert network_input(spoken(sign, HIBARI)) == network_input(words)


STAYS = (
    "3-5, 555-1234, 2026-01-13, COVID-19, F-16, e-mail, well-known, - item, a — b, pages 3 - 5, --verbose, 3–5, x | y"
)


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
        ("🇩🇪 and 1️⃣", "and", "U+1F1E9 U+1F1EA, U+0031 U+FE0F U+20E3"),
        ("• one\n• two", "one\ntwo", "U+2022"),
        ("a → b -> c", "a b c", "U+2192, U+002D U+003E"),
        ("Title\n=====\n★ ok ✓", "Title\n\nok", "U+003D U+003D U+003D U+003D U+003D, U+2605, U+2713"),
        ("**bold** Foo™", "bold Foo", "U+2122, U+002A"),
    ],
)
def test_ornaments_are_left_out_and_told_by_code_point(text, rest, told):
    reading = ESPEAK.read(text, "en-us")
    assert (reading.text, reading.told) == (rest, told)


def test_what_is_told_of_ornaments_is_bounded():
    told = ESPEAK.read("Hi " + "".join(map(chr, range(0x1F600, 0x1F640))), "en-us").told
    assert (told.count("U+"), told.endswith(", ...")) == (16, True)


def catalogue(**options):
    return Catalogue(
        [ESPEAK, HIBARI, build_engine("openai", {"base_url": "http://127.0.0.1:1/v1", "model": "m"})], **options
    )


def plan(text, model="hibari", offered=None, **fields):
    offered = offered or catalogue()
    return Synthesizer(Cache(), offered).plan(parse_request({"model": model, "input": text, **fields}, offered))


@pytest.mark.parametrize("text", ["😀", "™ → •", "\u200b\ufeff", "====="])
def test_a_text_of_nothing_but_ornaments_is_an_empty_text(text):
    with pytest.raises(InvalidRequest, match="'input' is empty; it is the text to speak") as refused:
        plan(text)
    assert refused.value.param == "input"


def test_strict_refuses_ornaments_by_code_point():
    with pytest.raises(InvalidRequest, match=r"U\+1F600.*server\.strict"):
        plan("Hello 😀", offered=catalogue(strict=True))
    assert plan("Hello", offered=catalogue(strict=True)).request.utterance.text == "Hello"


@pytest.mark.parametrize("text", ["5 ⨌ 3", "5 ¤", "a ⋔ b"])
@pytest.mark.parametrize("model", ["hibari", "espeak"])
def test_a_sign_without_words_is_refused_by_its_name(text, model):
    with pytest.raises(InvalidRequest, match=r"U\+[0-9A-F]{4} [A-Z ]+\)") as refused:
        plan(text, model)
    assert refused.value.param == "input"


async def test_in_other_languages_a_sign_that_is_passed_over_is_refused_and_all_else_is_as_before():
    engine = build_engine("espeak", {})
    await engine.load()
    for text in ("Cuesta -5 grados", "Es ≤ 18", "5 ‰"):
        with pytest.raises(InvalidRequest, match=r"U\+[0-9A-F]{4} [A-Z -]+\)"):
            await pcm(engine, text, "es")
    for text in ("Cuesta 5 €", "3 + 4 = 7", "e-mail, 3-5"):
        assert engine.read(text, "es").text == text
        assert len(await pcm(engine, text, "es")) > 4000
    await engine.close()


UNSEEN = ["\u200b", "\u00ad", "\ufeff", "\u2060", "\u200e", "\u202a", "\u200c", "\u200d", "\u2066", "\ufe0f"]


@given(st.text("ab é", min_size=1, max_size=8), st.lists(st.tuples(st.integers(0, 8), st.sampled_from(UNSEEN))))
def test_invisible_characters_are_neither_heard_nor_keyed(text, unseen):
    text, with_unseen = f"x{text}x", list(f"x{text}x")
    for place, character in unseen:
        with_unseen.insert(place, character)
    assert plan("".join(with_unseen)).take_key == plan(text).take_key


@pytest.mark.parametrize(("text", "voice"), [("می\u200cخواهم", "fa"), ("क्\u200dष", "hi"), ("ภาษา\u200bไทย", "th")])
def test_an_invisible_character_stays_where_its_script_needs_it(text, voice):
    assert spoken(text, voice=voice) == text


def test_a_text_in_a_script_that_the_voice_asked_for_cannot_read_names_one_that_can():
    for voice, text, can in [
        ("en-us", "你好", "cmn"),
        ("de", "Привет", "ru"),
        ("en-us", "Say 你好", "cmn"),
        ("fr-fr", "שלום", "he"),
    ]:
        with pytest.raises(InvalidRequest, match=f"the voice '{can}' does") as refused:
            plan(text, "espeak", voice=voice)
        assert refused.value.param == "input"
    with pytest.raises(InvalidRequest, match="no voice of this engine"):
        plan("日本語 ひらがな", "espeak", voice="ja")


@pytest.mark.parametrize(
    ("text", "voice"),
    [
        ("你好", "cmn"),
        ("hello 世界", "cmn"),
        ("Привет", "ru"),
        ("ひらがな", "ja"),
        ("Γειά σου", "el"),
        ("α and π", "en-us"),
        ("hello", "en-us"),
    ],
)
def test_where_no_voice_is_asked_for_one_is_chosen_that_reads_the_text(text, voice):
    asked, chosen = plan(text, "espeak", voice=voice), plan(text, "espeak")
    assert (chosen.request.utterance.voice, chosen.take_key) == (voice, asked.take_key)


@pytest.mark.parametrize("text", ["你好", "Hello 你好", "Привет", "α"])
def test_a_text_that_is_not_english_is_refused_by_hibari_before_it_is_keyed(text):
    with pytest.raises(InvalidRequest, match="not English"):
        plan(text)


@given(st.text(max_size=30))
def test_what_is_read_is_read_the_same_again(text):
    """What was left in cannot be taken for another sign later: the key holds what is spoken."""
    try:
        once = read(unicodedata.normalize("NFC", text).strip(), "en").text
        assert read(once, "en").text == once
    except signs.Unspeakable:
        pass


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


def test_other_words_have_another_version():
    """Whoever changes words or rules raises ``VERSION``, as the same text is another sound then, and writes down both."""
    known = [*tables.WORDS, *tables.MEASURES, *tables.CURRENCIES, "−", "‑", "½", "²", "^", "*", "~"]
    texts = [carrier.replace("{}", sign) for sign in known for carrier in CARRIERS["en"]]
    texts += [sign for pairs in AS_WORDS.values() for sign, _ in pairs]
    said = [read(text, language).text for language in tables.LANGUAGES for text in texts]
    assert (tables.VERSION, blake2b("\n".join(said).encode(), digest_size=8).hexdigest()) == (1, "7fc72ad66971ae22")


async def test_ornaments_are_told_in_a_header_that_is_the_same_on_hit_and_miss():
    async with serving(build_engine("hibari", {})) as client:
        answers = [await speak(client, "Hello 😀 • there", model="hibari", voice="heart") for _ in range(2)]
        other = await speak(client, "Hello there", model="hibari", voice="heart")
    assert [answer.headers["x-sayonce-ignored"] for answer in answers] == ["input: U+1F600, U+2022"] * 2
    assert "hit" in answers[1].headers["cache-status"]
    assert "hit" in other.headers["cache-status"]
    assert "x-sayonce-ignored" not in other.headers
