"""Letters of every script are spoken by a voice that reads them, or refused: never by their names."""

import re

import pytest

from sayonce.errors import EngineError, InvalidRequest
from sayonce.speech.engines import build_engine
from sayonce.speech.engines.espeak.hanzi import _dictionary
from tests.helpers.engine_speech import pcm
from tests.helpers.spoken_texts import ESPEAK, EVERYWHERE, HIBARI, NAMED, plan, spoken


async def test_a_letter_that_the_voice_passes_over_is_refused_and_spoken_by_a_voice_of_its_language():
    engine = build_engine("espeak", {})
    await engine.load()
    for text, voice in [("Қазақстан", "ru"), ("Қрунт", "uk")]:
        with pytest.raises(InvalidRequest, match=r"U\+049A CYRILLIC"):
            await pcm(engine, spoken(text, engine, voice), voice)
    for text, voice in [("Қазақстан", "kk"), ("Їжак, Ґрунт", "ru")]:
        assert len(await pcm(engine, spoken(text, engine, voice), voice)) > 4000
    await engine.close()


@pytest.mark.parametrize(
    ("text", "read"), [("ÈCOLE Ëve ŷ Ťa", "ECOLE Eve y Ta"), ("Dvořák Łódź", "Dvořák Łódź"), ("ƙa", "ka")]
)
def test_hibari_gets_a_plain_letter_for_one_that_it_would_pass_over(text, read):
    assert spoken(text, HIBARI) == read


def test_a_refusal_of_a_script_does_not_take_the_words_of_signs_for_the_text():
    with pytest.raises(InvalidRequest, match="the voice 'cmn' does"):
        plan("气温－５度", "espeak", voice="ru")


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


EAST_ASIAN = [
    chr(code)
    for first, last in [
        (0x1100, 0x11FF), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x318F), (0x31A0, 0x33FF),
        (0x3400, 0x9FFF), (0xA960, 0xA97F), (0xAC00, 0xD7FB), (0xF900, 0xFAFF), (0xFF66, 0xFFDC), (0x16FE0, 0x18D08),
        (0x1AFF0, 0x1B2FB), (0x20000, 0x323AF),
    ]
    for code in range(first, last + 1)
]  # fmt: skip
"""Ideographs with all extensions, compatibility forms, radicals, strokes, Bopomofo, kana, Hangul, Tangut, Khitan, Nüshu."""

UNHEARD = frozenset(chr(code) for code in (0x115F, 0x1160, 0x3164, 0x302E, 0x302F))

NAMES_OF_LETTERS = {
    "cmn": [b"@:11_", b"(en)"],
    "cmn-latn-pinyin": [b"@:11_", b"(en)"],
    "yue": [b"l'et@", b"(en)"],
    "ja": [b"l'et@", b"(en)"],
    "ko": [b"l'et@", b"(en)"],
    "en-us": [b"l,Et#3", b"h'aNgul", b"dZ'ap@ni:z", b"tS'aIni:z"],
}
"""What each voice says of a letter that it has no reading for."""


@EVERYWHERE
@pytest.mark.parametrize("voice", NAMES_OF_LETTERS)
def test_every_east_asian_character_is_spoken_by_a_reading_of_its_own_or_refused(voice, everywhere, phonemes):
    names, readings, misread, unnamed = NAMES_OF_LETTERS[voice], 0, [], []
    assert all(names[0] in b"".join(phonemes(unknown, voice)) for unknown in "鿍\U00020089")
    carriers = ["{}", {"cmn": "你{}好", "yue": "你{}好", "ja": "か{}か", "ko": "가{}가"}.get(voice, "{} {}")]
    for character in EAST_ASIAN if everywhere else EAST_ASIAN[::11]:
        for carrier in carriers:
            try:
                reading = ESPEAK.read(carrier.replace("{}", character), voice)
            except InvalidRequest as error:
                unnamed += [] if NAMED.search(error.message) else [character]
                continue
            said = b"".join(phonemes(reading.text, voice))
            readings += 1
            if reading.ignored or reading.text.isascii() or character in UNHEARD | {"・", "゠"}:
                continue
            heard = names if character.isalpha() else names[:1]  # units are Latin letters
            if not said.strip(b"_:| ") or any(name in said for name in heard):
                misread.append((carrier, character))
    assert (misread, unnamed) == ([], [])
    assert readings > 500


CHINESE = [
    ("英雄", ["j'i55N_| S;'ong35_|"]),
    ("兄弟", ["S;'ong55_| t'i51_|"]),
    ("窘", ["tS;'ong214_|"]),
    ("穷", ["tS;h'ong35_|"]),
    ("花儿", ["Xw'A55_| '@r11_|"]),
    ("兒子", ["'@r35_| ts'i[11_|"]),
]


@pytest.mark.parametrize(("text", "said"), CHINESE)
def test_syllables_that_espeak_would_read_as_english_are_chinese(text, said, phonemes):
    assert [each.decode() for each in phonemes(spoken(text, voice="cmn"), "cmn")] == said


@pytest.mark.parametrize("text", ["A雄3", "熊熊烈火", "一会儿见", "胸，凶！", "英雄儿女", "不消一會兒工夫", "(兄)"])
def test_no_chinese_text_is_english_in_part(text, phonemes):
    letters = phonemes(re.sub("[^A-Z]", "", text), "cmn")
    said = b"".join(phonemes(spoken(text, voice="cmn"), "cmn"))
    assert said.count(b"(en)") == b"".join(letters).count(b"(en)")
    assert spoken("今天天气很好，女儿1岁了。", voice="cmn") == "今天天气很好，女儿1岁了。"


def test_every_word_with_er_as_a_suffix_is_chinese(phonemes):
    words = _dictionary(ESPEAK._data / "cmn_dict").suffixed
    assert [word for word in words if b"(en)" in b"".join(phonemes(spoken(word, voice="cmn"), "cmn"))] == []
    assert len(words) > 400


def test_a_character_that_the_voice_asked_for_cannot_read_is_named_with_a_voice_that_can():
    for text, voice, message in [
        ("𠮷野家", "cmn", r"'𠮷' \(U\+20BB7 .*'cmn' does not read it; write it in another way"),
        ("有冇㗎", "cmn", r"'㗎' \(U\+35CE .*the voice 'yue' does"),
        ("그 아", "en-us", r"'아' \(U\+C544 .*the voice 'ko' does"),
        ("日本語", "ja", "'日', which is a Chinese character: the voice 'ja' does not read it"),
        ("привет", "en-us", "'п', which is Cyrillic: the voice 'en-us' does not read it; the voice 'ru' does"),
        ("いすゞ", "ja", r"'ゞ' \(U\+309E "),
    ]:
        with pytest.raises(InvalidRequest, match=message) as refused:
            plan(text, "espeak", voice=voice)
        assert refused.value.param == "input"


@pytest.mark.parametrize("text", ["きぇ", "かぃか", "ー", "あ ー", "いァ", "かヷ", "ﾊﾞﾟ", "一ヶ月"])
def test_kana_that_would_be_passed_over_or_named_are_refused(text):
    with pytest.raises(InvalidRequest, match=NAMED):
        ESPEAK.read(text, "ja")


SMALL = [
    "ファイル",
    "ねぇ、すごいー",
    "パーティー",
    "きゃっか",
    "ｶﾞｷﾞﾌｧ",
    "ヴァイオリン・ソナタ",
    "・ひとつ",
    "シェフ",
    "ウォーキング",
    "か안녕か",
    "OK안녕",
]


@pytest.mark.parametrize("text", SMALL)
def test_small_kana_and_words_of_two_scripts_are_spoken_without_names_of_letters(text, phonemes):
    names = (b"dZ'ap@ni:z", b"tS'aIni:z", b"h'aNgul", b"l'et@")
    said = b"".join(phonemes(spoken(text, voice="ja"), "ja"))
    assert not [name for name in names if name in said]
    assert phonemes(spoken("约翰・史密斯", voice="cmn"), "cmn") == phonemes("约翰 史密斯", "cmn")


def test_a_dictionary_in_another_format_is_the_engines_error(tmp_path):
    for content in (b"", b"\x01\0\0\0\xff\0\0\0\x03", b"\x01\0\0\0\x09\0\0\0" + b"\x05\x03\xe4\xff\xff\0\0"):
        (tmp_path / "cmn_dict").write_bytes(content)
        with pytest.raises(EngineError, match="cmn_dict is not in the format"):
            _dictionary.__wrapped__(tmp_path / "cmn_dict")


@pytest.mark.parametrize(
    ("text", "said"),
    [("二○二六年", "二〇二六年"), ("一九九◯年", "一九九〇年"), ("二○○○年", "二〇〇〇年"), ("三○一室", "三〇一室")],
)
def test_a_circle_in_a_chinese_number_is_its_zero(text, said, phonemes):
    for voice in ("cmn", "yue"):
        reading = ESPEAK.read(text, voice)
        assert (phonemes(reading.text, voice), reading.ignored) == (phonemes(said, voice), ())
    assert ESPEAK.read("○ 你好", "cmn").told == "U+25CB"


@pytest.mark.parametrize("text", ["你好", "Hello 你好", "Привет", "α"])
def test_a_text_that_is_not_english_is_refused_by_hibari_before_it_is_keyed(text):
    with pytest.raises(InvalidRequest, match="not English"):
        plan(text)
