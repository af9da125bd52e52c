"""No digit of a number is left out, and no two numbers sound the same."""

import contextlib
import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayonce.errors import InvalidRequest
from sayonce.text import dashes
from tests.helpers.spoken_texts import (
    ESPEAK,
    HIBARI,
    NUMBERS,
    spoken,
)


@pytest.mark.parametrize(("number", "words"), NUMBERS)
def test_the_network_of_hibari_gets_every_digit_of_a_number(number, words, network_input):
    assert network_input(spoken(number, HIBARI)) == network_input(words)


@pytest.mark.parametrize(
    "text",
    [
        "3-5",
        "555-1234",
        "2026-01-13",
        "COVID-19",
        "F-16",
        "10:05",
        "9:00",
        "9:00 am",
        "1/13/2026",
        "01/05/26",
        "January 05, 2026",
        "05 May",
        "$1.50",
        "$0.05",
        "$1,234.50",
        "$1.00",
        "$5-10",
        "2026",
        "1990s",
        "21st",
        "1,000th",
        "3.14",
        "(0.5)",
        "1,000",
        "1/2",
        "24/7",
        "747",
        "F-105",
        "1234567",
        "3 4 5",
        "5.",
        "No. 5",
    ],
)
def test_numbers_that_hibari_reads_to_the_last_digit_stay_as_they_are(text):
    assert spoken(text, HIBARI) == text


@pytest.mark.parametrize(("text", "like"), [("Call 555-1234.", "555-1234"), ("pages 3-5.", "3-5"), ("on 9/11.", "9/11"), ("It is 1/2.", "1/2"), ("$5-10.", "$5-10")])  # fmt: skip
def test_hibari_reads_a_number_before_a_full_stop_as_anywhere(text, like, network_input):
    [before_full_stop], [alone] = network_input(spoken(text, HIBARI)), network_input(like)
    assert str(alone[1:-1])[1:-1] in str(before_full_stop)


FIGURES = [
    "0",
    "1",
    "5",
    "00",
    "05",
    "10",
    "20",
    "45",
    "100",
    "000",
    "105",
    "042",
    "0042",
    "1000",
    "1905",
    "2020",
    "12345",
]

SOME_FIGURES = ["0", "05", "10", "20", "100", "105"]

THOUSANDS = re.compile(r"[1-9]\d{0,2}([ ,'])\d{3}(?:\1\d{3})*")

TIME = re.compile(r"0?(\d|1\d|2[0-4]):([0-5]\d)")

DATE = re.compile(r"0?(\d\d?)/0?(\d\d?)/(\d\d)")


def numerals():
    """Yield whole numbers, decimals, and numbers that are parted by all that parts them."""
    for length in (1, 2, 3):
        yield from map("".join, product("0123456789", repeat=length))
    yield from (f"{whole}{fraction:04d}" for whole in (0, 9) for fraction in range(0, 10_000, 7))
    yield from (
        f"{whole}.{part}" for whole in ("0", "1", "20", "00") for part in map("".join, product("0159", repeat=3))
    )
    yield from (
        f"{whole}.{part}" for whole in ("0", "1", "20", "00") for part in map("".join, product("0159", repeat=2))
    )
    yield from map("".join, product(FIGURES, " ,.:/-';", FIGURES))
    yield from (
        f"{one}{sign}{two}{sign}{three}" for one, two, three in product(SOME_FIGURES, repeat=3) for sign in " ,./-'"
    )


def number(numeral):
    """Return one writing for numerals that are said alike, as they mean the same or are homophones: reviewed."""
    if THOUSANDS.fullmatch(numeral):
        return re.sub(r"\D", "", numeral)
    if found := DATE.fullmatch(numeral):
        month, day = map(int, found.groups()[:2])
        return (
            f"{min(month, day)}/{max(month, day)}/20{found[3]}"
            if max(month, day) > 12
            else f"{month}/{day}/20{found[3]}"
        )
    if found := TIME.fullmatch(numeral):
        hour, minutes = found.groups()
        return f"{hour}{minutes}" if int(hour) >= 10 else f"{hour}:{minutes}"  # 20:20 and the year 2020
    if numeral.count(",") > 1:
        numeral = numeral.replace(",", ";")
    numeral = re.sub(r"(?<!\d)(\d) (?=\d(?!\d))", r"\1·", numeral)  # 0 0 7 is 007
    return "; ".join("·".join(each) if re.fullmatch(r"0\d+", each) else each for each in re.split("[ :;'-]", numeral))


def test_two_different_numbers_never_give_the_network_of_hibari_the_same(network_input):
    said = {}
    for numeral in numerals():
        said.setdefault(str(network_input(spoken(numeral, HIBARI))), set()).add(numeral)
    alike = [sorted(group) for group in said.values() if len({number(each) for each in group}) > 1]
    assert alike == []


@pytest.mark.parametrize("digits", [36, 37, 4000])
@pytest.mark.parametrize("text", ["{}", "${}", "{}%", "-{}", "{}th", "1.{}", "{}.5", "0{}", "x{}"])
def test_hibari_reads_a_number_of_any_length(digits, text, network_input):
    heard = [network_input(spoken(text.format(digit * digits), HIBARI)) for digit in "19"]
    assert heard[0] != heard[1]
    assert all(len(sentence) < 500 for sentence in heard[0])


@settings(deadline=None)
@given(st.text("0159.,:;'/-$%() xth", min_size=1, max_size=12))
def test_hibari_never_fails_at_a_number_and_reads_what_it_got_the_same_again(network_input, text):
    with contextlib.suppress(InvalidRequest):
        once = spoken(f"5{text}", HIBARI)
        assert spoken(once, HIBARI) == once
        assert network_input(once)


def test_every_voice_of_espeak_says_every_digit_or_refuses_them(phonemes):
    refused, left_out = set(), set()
    for voice in (each.id for each in ESPEAK.voices() if "+" not in each.id):
        for number in ("7", "37", "135", "13579", "1,357", "1,357.92", "1357924681", "13579246813579"):
            for at, digit in enumerate(number):
                if digit.isdecimal():
                    others = (f"{number[:at]}{other}{number[at + 1 :]}" for other in {"6", "8", digit} - {digit})
                    try:
                        heard = phonemes(spoken(number, voice=voice), voice)
                        if any(phonemes(spoken(other, voice=voice), voice) == heard for other in others):
                            left_out.add((voice, number))
                    except InvalidRequest as error:
                        assert "the voice" in error.message  # noqa: PT017
                        refused.add(voice)
    assert (left_out, refused) == (set(), {"chr-us-qaaa-x-west", "cv", "qya", "sjn"})


@pytest.mark.parametrize(
    ("voice", "number", "words"),
    [
        ("ja", "3.14", "3 てん 1 4"), ("ja", "です 1,234.5", "です 1,234 てん 5"), ("ko", "0.05", "0 점 0 5"), ("yue", "12.50", "12點 5 0"),
        ("yue", "192.168.0.1", "192.168.0.1"), ("ja", "3〜5", "3から5"), ("ja", "〜です", "です"), ("ja", "ですよ〜", "ですよー"),
        ("si", "7", "හත"), ("ht", "37", "3 7"), ("hi", "1,357.92", "1357.92"),
    ],
)  # fmt: skip
def test_voices_of_espeak_that_leave_out_parts_of_numbers_get_them_in_words(voice, number, words, phonemes):
    assert phonemes(spoken(number, voice=voice), voice) == phonemes(words, voice)


def test_the_search_for_numbers_begins_once_in_each_number_however_long():
    """From every digit anew it would take the square of the text's length, and hold up everyone."""
    for text in ("1" * 500, "1,000" * 100, "1\u202f000" * 100, "0.0" * 100):
        begins = [at for at in range(len(text)) if re.compile(dashes.NUMBER).match(text, at)]
        assert begins == [0]
