"""The embedded engines, what they speak of a text, and texts with the words of their signs and numbers."""

import re

import pytest

from sayonce.cache import Cache
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.engines import build_engine
from sayonce.speech.request import parse_request
from sayonce.speech.synthesis import Synthesizer

ESPEAK, HIBARI = build_engine("espeak", {}), build_engine("hibari", {})
VOICES = {"en": "en-us", "cmn": "cmn", "fr": "fr-fr", "de": "de", "ru": "ru"}

CARRIERS = {
    "en": ["It is {}5 today", "about 5{} today", "say {} now", "5 {} 3", "5{}3", "ba{}ta"],
    "cmn": ["气温{}5度", "大约5{}左右", "请说 {} 吧", "5 {} 3", "5{}3"],
    "fr": ["Il fait {}5 ici", "environ 5{} ici", "dites {} bien", "5 {} 3", "5{}3"],
    "de": ["Es ist {}5 heute", "etwa 5{} heute", "sag {} jetzt", "5 {} 3", "5{}3"],
    "ru": ["Сегодня {}5 тут", "около 5{} тут", "скажи {} да", "5 {} 3", "5{}3"],
}

NAMED = re.compile(r"U\+[0-9A-F]{4}|does not read it|not English")


def spoken(text, engine=ESPEAK, voice=None):
    return engine.read(text, voice or engine.default_voice).text


EVERYWHERE = pytest.mark.parametrize("everywhere", [False, pytest.param(True, marks=pytest.mark.slow)])
"""Each sign in one carrier phrase, in turn; where there is time, in every phrase."""

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
        ("-5–-3 °C", "minus 5 to minus 3 degrees Celsius"), ("-5--3", "minus 5 to minus 3"), ("5--3=8", "5 minus minus 3 equals 8"),
        ("pages 3–5", "pages 3 to 5"), ("2020‒2026", "2020 to 2026"), ("5–10%", "5 to 10 percent"), ("5 km–10 km", "5 km to 10 km"),
        ("Call ４５", "Call 45"), ("Room ٥", "Room 5"), ("５＋３", "5 plus 3"), ("①②", "1 2"), ("❶ 🄂 1️⃣", "1 1 1"), ("⅟8", "1 over 8"),
        ("War Ⅱ", "War 2"), ("5′10″", "5 feet 10 inches"), ("10″", "10 inches"), ("f′", "f prime"), ("5°10′", "5 degrees 10 minutes"),
        ("x·y", "x times y"), ("5˚C", "5 degrees Celsius"), ("˜5", "about 5"), ("〜5", "about 5"), ("a_b", "a underscore b"),
        ("a|b", "a vertical bar b"), ("a\\b", "a backslash b"), ("Mᵐᵉ", "Mme"), ("3✕4", "3 times 4"), ("3 ➗ 4", "3 divided by 4"),
        ("y=-x", "y equals minus x"), ("ℋello ＡＢＣ", "Hello ABC"), ("don´t", "don't"), ("xⁿ", "x to the power of n"),
        ("5%-10%", "5 percent to 10 percent"), ("-(5)", "minus (5)"), ("(x)-5", "(x) minus 5"), ("x²-5", "x squared minus 5"),
        ("2x-5", "2x minus 5"), ("UTC-5", "UTC minus 5"), ("-x²", "minus x squared"), ("`-5`", "`minus 5`"), ("3-(-5)", "3 minus (minus 5)"),
        ('12" pizza', "12 inches pizza"), ("6'2\"", "6 feet 2 inches"), ("5＊3", "5 times 3"), ("٣٫٥", "3.5"), ("€5-€10", "5 euros to 10 euros"),
        ("1 °F", "1 degree Fahrenheit"), ("３．１４", "3.14"), ("~5", "about 5"), ("5~6", "5 to 6"),
    ],
    "cmn": [
        ("气温 -5度", "气温 负5度"), ("跌了-3%", "跌了负百分之3"), ("气温-5度", "气温负5度"), ("5-3=2", "5减3等于2"), ("≥18岁", "大于等于18岁"),
        ("¥100万", "100万元"), ("5～10人", "5到10人"), ("-5℃", "负5摄氏度"), ("利润-3.5亿元", "利润负3.5亿元"), ("½", "2分之1"), ("50％", "百分之50"),
        ("气温－５度", "气温负5度"), ("3—5人", "3到5人"), ("3月–5月", "3月到5月"), ("5·3", "5乘3"),
        ("３．１４", "3.14"), ("１０：０５", "10:05"),
    ],
    "fr": [("Il fait -5 degrés", "Il fait moins 5 degrés"), ("-3 %", "moins 3 pour cent"), ("5 €", "5 euros"), ("n°5", "numéro 5"), ("3–5", "3 à 5"), ("#5", "numéro 5"), ("5/6", "5 sur 6"), ("km/h", "km par h")],
    "de": [("Es ist -5 °C", "Es ist minus 5 Grad Celsius"), ("5 ‰", "5 Promille"), ("(-5)", "(minus 5)"), ("½", "ein halb"), ("5/6", "5 Schrägstrich 6"), ("5·3", "5 mal 3")],
    "ru": [("-5 %", "минус 5 процентов"), ("1 %", "1 процент"), ("3 $", "3 доллара"), ("½", "одна вторая"), ("T=-5", "T равно минус 5")],
}  # fmt: skip

NUMBERS = [
    ("Your code is 0042.", "Your code is zero zero four two."), ("0000", "zero zero zero zero"), ("007", "zero zero seven"),
    ("ZIP 02134", "ZIP zero two one three four"), ("F0042", "F zero zero four two"), ("#05", "number zero five"),
    ("Call 0800 123 456.", "Call zero eight zero zero, one two three, four five six."),
    ("020 7946 0018", "zero two zero, seven nine four six, zero zero one eight"),
    ("100 000", "one hundred thousand"), ("50 000 €", "fifty thousand euros"), ("$50 000", "fifty thousand dollars"),
    ("1'000'000", "one million"), ("-5 000", "minus five thousand"), ("12\u202f345 km", "12,345 km"),
    ("1 000,05", "1,000.05"), ("1.234,56 €", "1,234.56 euros"), ("₹12,34,567", "1,234,567 rupees"),
    ("Bus 20 5 minutes late", "Bus twenty, five minutes late"), ("10 1/2", "ten and one half"), ("10½", "ten and one half"),
    ("1.0", "one point zero"), ("10.10", "ten point one zero"), ("1.50 kg", "one point five zero kilograms"), ("(2.00)", "(two point zero zero)"),
    ("“0.54”", "“0 point five four”"), ("v1.5", "v one point five"), ("v2.0.10", "v two point zero point ten"),
    ("192.168.0.1", "one nine two point one six eight point zero point one"),
    ("Rooms 1,2,3", "Rooms one, two, three"), ("1,0005", "one comma zero zero zero five"), ("3,14", "three comma one four"),
    ("12,5%", "12.5 percent"), ("0,125 %", "0.125 percent"), ("€1,50", "€1.50"), ("EUR 49,90", "€49.90"), ("1,5 €", "1.5 euros"),
    ("$1.5", "1.5 dollars"), ("$3.1415", "3.1415 dollars"), ("$05", "zero five dollars"), ("$1.50 million", "one point five zero million dollars"),
    ("“$5”", "“five dollars”"), ("$5 $6", "five dollars six dollars"), ("US$5", "US five dollars"), ("USD 10.50", "$10.50"), ("Rs. 500", "five hundred rupees"),
    ("100/60", "one hundred slash sixty"), ("about /100", "about slash one hundred"), ("odds of 20:1", "odds of twenty, one"),
    ("10:00:05", "ten, zero zero, zero five"), ("1-800-555-0123", "one, eight zero zero, five five five, zero one two three"), ("12345-6789", "12345, 6789"),
    ("5'10", "five, ten"), ("20...5", "twenty, five"), ("2026-00-13", "2026, zero zero, thirteen"), ("Jan. 05", "Jan. Zero five"),
    (".5", "point five"), ("-.05", "minus point zero five"), ("x .50", "x point five zero"), ("20 .5", "twenty, point five"), ("5/.5", "five slash point five"),
    ("$.50", "fifty cents"), ("$.5", "0.5 dollars"), ("₹1,23,456.78", "123,456.78 rupees"), ("3-1/2", "three and one half"),
    ("20 ,5", "twenty, five"), ("20，5", "twenty, five"), ("20 “5”", "twenty, five”"), ("20» 5", "twenty, five"), ("20、 5", "twenty, five"), ("20_ 5", "twenty, five"),
    ("20/ 5", "twenty slash five"), ("5 @1,000", "five at one thousand"), ("30° @1,000 and", "thirty degrees at one thousand and"), ("2026-01-13T10:05:00Z", "January 13th, 2026 T ten oh five and zero seconds Z"),
]  # fmt: skip


def catalogue(**options):
    return Catalogue(
        [ESPEAK, HIBARI, build_engine("openai", {"base_url": "http://127.0.0.1:1/v1", "model": "m"})], **options
    )


def plan(text, model="hibari", offered=None, **fields):
    offered = offered or catalogue()
    return Synthesizer(Cache(), offered).plan(parse_request({"model": model, "input": text, **fields}, offered))
