"""The words of signs in English, Chinese, French, German and Russian: data, for speakers of these languages to review."""

from __future__ import annotations

from typing import Final

VERSION: Final = 8
"""Raised when a word or a rule changes the spoken text: it is in the identity of the engines that read by it."""

LANGUAGES: Final = ("en", "cmn", "fr", "de", "ru")

MINUS: Final = dict(zip(LANGUAGES, ("minus", "负", "moins", "minus", "минус"), strict=True))
SUBTRACT: Final = MINUS | {"cmn": "减"}
"""The minus between two numbers, which Chinese tells from the sign of a number."""
RANGE: Final = dict(zip(LANGUAGES, ("to", "到", "à", "bis", "до"), strict=True))
ABOUT: Final = dict(zip(LANGUAGES, ("about", "约", "environ", "etwa", "около"), strict=True))
POWER: Final = dict(zip(LANGUAGES, ("to the power of", "的幂", "puissance", "hoch", "в степени"), strict=True))
SQUARED: Final = dict(zip(LANGUAGES, ("squared", "平方", "au carré", "hoch zwei", "в квадрате"), strict=True))
CUBED: Final = dict(zip(LANGUAGES, ("cubed", "立方", "au cube", "hoch drei", "в кубе"), strict=True))
NUMBER: Final = dict(zip(LANGUAGES, ("number", "号", "numéro", "Nummer", "номер"), strict=True))

PER: Final = dict(zip(LANGUAGES, ("per", "每", "par", "pro", "за"), strict=True))
"""The slash behind a currency, and in km/h."""
SLASH: Final = {"fr": "sur", "de": "Schrägstrich"}
"""The slash between two numbers, where espeak-ng has no word for it."""

Row = tuple[str, str, str, str, str]

WORDS: Final[dict[str, Row]] = {
    "+": ("plus", "加", "plus", "plus", "плюс"),
    "=": ("equals", "等于", "égale", "gleich", "равно"),
    "<": ("less than", "小于", "inférieur à", "kleiner als", "меньше"),
    ">": ("greater than", "大于", "supérieur à", "größer als", "больше"),
    "≤": ("less than or equal to", "小于等于", "inférieur ou égal à", "kleiner oder gleich", "меньше или равно"),
    "≥": ("greater than or equal to", "大于等于", "supérieur ou égal à", "größer oder gleich", "больше или равно"),
    "≪": ("much less than", "远小于", "très inférieur à", "viel kleiner als", "намного меньше"),
    "≫": ("much greater than", "远大于", "très supérieur à", "viel größer als", "намного больше"),
    "≠": ("is not equal to", "不等于", "n'est pas égal à", "ungleich", "не равно"),
    "≈": ("is about equal to", "约等于", "est à peu près égal à", "ungefähr gleich", "приблизительно равно"),
    "≡": ("is identical to", "恒等于", "est identique à", "ist identisch mit", "тождественно равно"),
    "≅": ("is congruent to", "全等于", "est congru à", "ist kongruent zu", "конгруэнтно"),
    "±": ("plus or minus", "正负", "plus ou moins", "plus oder minus", "плюс-минус"),
    "∓": ("minus or plus", "负正", "moins ou plus", "minus oder plus", "минус-плюс"),
    "×": ("times", "乘", "fois", "mal", "умножить на"),
    "⋅": ("times", "乘", "fois", "mal", "умножить на"),
    "∗": ("times", "乘", "fois", "mal", "умножить на"),
    "÷": ("divided by", "除以", "divisé par", "geteilt durch", "разделить на"),
    "∕": ("divided by", "除以", "divisé par", "geteilt durch", "разделить на"),
    "∶": ("to", "比", "à", "zu", "к"),
    "∷": ("as", "等于", "comme", "wie", "как"),
    "⁄": ("over", "除以", "sur", "durch", "дробь"),
    "√": ("the square root of", "根号", "la racine carrée de", "die Wurzel aus", "квадратный корень из"),
    "∛": ("the cube root of", "三次根号", "la racine cubique de", "die dritte Wurzel aus", "кубический корень из"),
    "∜": (
        "the fourth root of",
        "四次根号",
        "la racine quatrième de",
        "die vierte Wurzel aus",
        "корень четвёртой степени из",
    ),
    "∞": ("infinity", "无穷大", "l'infini", "unendlich", "бесконечность"),
    "∑": ("the sum of", "求和", "la somme de", "die Summe von", "сумма"),
    "∏": ("the product of", "求积", "le produit de", "das Produkt von", "произведение"),
    "∫": ("the integral of", "积分", "l'intégrale de", "das Integral von", "интеграл"),
    "∂": (
        "the partial derivative of",
        "偏导",
        "la dérivée partielle de",
        "die partielle Ableitung von",
        "частная производная",
    ),
    "∇": ("nabla", "梯度", "nabla", "Nabla", "набла"),
    "∆": ("delta", "德尔塔", "delta", "Delta", "дельта"),
    "∝": ("is proportional to", "正比于", "est proportionnel à", "ist proportional zu", "пропорционально"),
    "∅": ("the empty set", "空集", "l'ensemble vide", "die leere Menge", "пустое множество"),
    "∈": ("is an element of", "属于", "appartient à", "ist Element von", "принадлежит"),
    "∉": ("is not an element of", "不属于", "n'appartient pas à", "ist kein Element von", "не принадлежит"),
    "⊂": ("is a subset of", "真包含于", "est inclus dans", "ist Teilmenge von", "подмножество"),
    "⊆": (
        "is a subset of or equal to",
        "包含于",
        "est inclus ou égal à",
        "ist Teilmenge oder gleich",
        "подмножество или равно",
    ),
    "⊃": ("is a superset of", "真包含", "contient", "ist Obermenge von", "надмножество"),
    "∪": ("union", "并", "union", "vereinigt mit", "объединение"),
    "∩": ("intersection", "交", "intersection", "geschnitten mit", "пересечение"),
    "∀": ("for all", "对所有", "pour tout", "für alle", "для всех"),
    "∃": ("there exists", "存在", "il existe", "es gibt", "существует"),
    "∧": ("and", "与", "et", "und", "и"),
    "∨": ("or", "或", "ou", "oder", "или"),
    "¬": ("not", "非", "non", "nicht", "не"),
    "∴": ("therefore", "所以", "donc", "also", "следовательно"),
    "∵": ("because", "因为", "parce que", "weil", "потому что"),
    "∠": ("angle", "角", "angle", "Winkel", "угол"),
    "⊥": ("is perpendicular to", "垂直于", "est perpendiculaire à", "senkrecht zu", "перпендикулярно"),
    "∥": ("is parallel to", "平行于", "est parallèle à", "parallel zu", "параллельно"),
    "∣": ("divides", "整除", "divise", "teilt", "делит"),
    "♯": ("sharp", "升", "dièse", "Kreuz", "диез"),
    "♭": ("flat", "降", "bémol", "B", "бемоль"),
    "♮": ("natural", "还原", "bécarre", "Auflösungszeichen", "бекар"),
    "©": ("copyright", "版权所有", "copyright", "Copyright", "копирайт"),
    "℅": ("care of", "转交", "aux bons soins de", "zu Händen von", "для передачи"),
    "№": ("number", "号", "numéro", "Nummer", "номер"),
    "℡": ("telephone", "电话", "téléphone", "Telefon", "телефон"),
    "§": ("section", "节", "paragraphe", "Paragraf", "параграф"),
    "′": ("prime", "撇", "prime", "Strich", "штрих"),
    "″": ("double prime", "两撇", "seconde", "zwei Strich", "два штриха"),
    "‴": ("triple prime", "三撇", "tierce", "drei Strich", "три штриха"),
    "_": ("underscore", "下划线", "tiret bas", "Unterstrich", "подчёркивание"),
    "|": ("vertical bar", "竖线", "barre verticale", "senkrechter Strich", "вертикальная черта"),
    "\\": ("backslash", "反斜杠", "barre oblique inverse", "Backslash", "обратная косая черта"),
    "^": ("caret", "脱字符", "circonflexe", "Zirkumflex", "крышка"),
    "⁊": ("and", "和", "et", "und", "и"),
    "¶": ("paragraph", "段", "alinéa", "Absatz", "абзац"),
}
"""The name of a sign, in any position."""

Forms = tuple[str, ...]
"""One form, or by number: one and more in English, one, few and many in Russian. ``{}`` stands for the number."""

_Measures = dict[str, tuple[Forms, Forms, Forms, Forms, Forms]]

MEASURES: Final[_Measures] = {
    "%": (("percent",), ("百分之{}", "百分号"), ("pour cent",), ("Prozent",), ("процент", "процента", "процентов")),
    "‰": (("per mille",), ("千分之{}", "千分号"), ("pour mille",), ("Promille",), ("промилле",)),
    "‱": (
        ("per ten thousand",), ("万分之{}", "万分号"), ("pour dix mille",), ("pro zehntausend",), ("на десять тысяч",),
    ),
    "°C": (
        ("degree Celsius", "degrees Celsius"), ("摄氏度",), ("degrés Celsius",), ("Grad Celsius",),
        ("градус Цельсия", "градуса Цельсия", "градусов Цельсия"),
    ),
    "°F": (
        ("degree Fahrenheit", "degrees Fahrenheit"), ("华氏度",), ("degrés Fahrenheit",), ("Grad Fahrenheit",),
        ("градус Фаренгейта", "градуса Фаренгейта", "градусов Фаренгейта"),
    ),
    "°": (("degree", "degrees"), ("度",), ("degrés",), ("Grad",), ("градус", "градуса", "градусов")),
    "㎏": (("kilogram", "kilograms"), ("千克",), ("kilogrammes",), ("Kilogramm",), ("килограмм", "килограмма", "килограммов")),
    "㎎": (("milligram", "milligrams"), ("毫克",), ("milligrammes",), ("Milligramm",), ("миллиграмм", "миллиграмма", "миллиграммов")),
    "㎜": (("millimeter", "millimeters"), ("毫米",), ("millimètres",), ("Millimeter",), ("миллиметр", "миллиметра", "миллиметров")),
    "㎝": (("centimeter", "centimeters"), ("厘米",), ("centimètres",), ("Zentimeter",), ("сантиметр", "сантиметра", "сантиметров")),
    "㎞": (("kilometer", "kilometers"), ("公里",), ("kilomètres",), ("Kilometer",), ("километр", "километра", "километров")),
    "㎡": (
        ("square meter", "square meters"), ("平方米",), ("mètres carrés",), ("Quadratmeter",),
        ("квадратный метр", "квадратных метра", "квадратных метров"),
    ),
    "㎢": (
        ("square kilometer", "square kilometers"), ("平方公里",), ("kilomètres carrés",), ("Quadratkilometer",),
        ("квадратный километр", "квадратных километра", "квадратных километров"),
    ),
    "㎥": (
        ("cubic meter", "cubic meters"), ("立方米",), ("mètres cubes",), ("Kubikmeter",),
        ("кубический метр", "кубических метра", "кубических метров"),
    ),
    "㏄": (
        ("cubic centimeter", "cubic centimeters"), ("毫升",), ("centimètres cubes",), ("Kubikzentimeter",),
        ("кубический сантиметр", "кубических сантиметра", "кубических сантиметров"),
    ),
}  # fmt: skip
"""Units behind a number."""

PRIMES: Final[_Measures] = {
    "feet": (("foot", "feet"), ("英尺",), ("pied", "pieds"), ("Fuß",), ("фут", "фута", "футов")),
    "inches": (("inch", "inches"), ("英寸",), ("pouce", "pouces"), ("Zoll",), ("дюйм", "дюйма", "дюймов")),
    "minutes": (("minute", "minutes"), ("分",), ("minute", "minutes"), ("Minute", "Minuten"), ("минута", "минуты", "минут")),
    "seconds": (
        ("second", "seconds"), ("秒",), ("seconde", "secondes"), ("Sekunde", "Sekunden"),
        ("секунда", "секунды", "секунд"),
    ),
}  # fmt: skip
"""The meanings of primes behind a number: of a length, and, behind degrees, of an angle."""

CURRENCIES: Final[_Measures] = {
    "$": (("dollar", "dollars"), ("美元",), ("dollars",), ("Dollar",), ("доллар", "доллара", "долларов")),
    "¢": (("cent", "cents"), ("美分",), ("cents",), ("Cent",), ("цент", "цента", "центов")),
    "£": (("pound", "pounds"), ("英镑",), ("livres sterling",), ("Pfund",), ("фунт", "фунта", "фунтов")),
    "€": (("euro", "euros"), ("欧元",), ("euros",), ("Euro",), ("евро",)),
    "¥": (("yen",), ("元",), ("yens",), ("Yen",), ("иена", "иены", "иен")),
    "₹": (("rupee", "rupees"), ("卢比",), ("roupies",), ("Rupien",), ("рупия", "рупии", "рупий")),
    "₨": (("rupee", "rupees"), ("卢比",), ("roupies",), ("Rupien",), ("рупия", "рупии", "рупий")),
    "₩": (("won",), ("韩元",), ("wons",), ("Won",), ("вона", "воны", "вон")),
    "₽": (("ruble", "rubles"), ("卢布",), ("roubles",), ("Rubel",), ("рубль", "рубля", "рублей")),
    "₺": (("lira", "liras"), ("里拉",), ("livres turques",), ("Lira",), ("лира", "лиры", "лир")),
    "₤": (("lira", "liras"), ("里拉",), ("lires",), ("Lira",), ("лира", "лиры", "лир")),
    "₪": (("shekel", "shekels"), ("谢克尔",), ("shekels",), ("Schekel",), ("шекель", "шекеля", "шекелей")),
    "₫": (("dong",), ("越南盾",), ("dongs",), ("Dong",), ("донг", "донга", "донгов")),
    "₴": (("hryvnia", "hryvnias"), ("格里夫纳",), ("hryvnias",), ("Hrywnja",), ("гривна", "гривны", "гривен")),
    "₱": (("peso", "pesos"), ("比索",), ("pesos",), ("Pesos",), ("песо",)),
    "฿": (("baht",), ("泰铢",), ("bahts",), ("Baht",), ("бат", "бата", "батов")),
    "₿": (("bitcoin", "bitcoins"), ("比特币",), ("bitcoins",), ("Bitcoin",), ("биткоин", "биткоина", "биткоинов")),
    "₦": (("naira",), ("奈拉",), ("nairas",), ("Naira",), ("найра", "найры", "найр")),
    "₸": (("tenge",), ("坚戈",), ("tenges",), ("Tenge",), ("тенге",)),
    "₾": (("lari",), ("拉里",), ("laris",), ("Lari",), ("лари",)),
    "₼": (("manat",), ("马纳特",), ("manats",), ("Manat",), ("манат", "маната", "манатов")),
    "₭": (("kip",), ("基普",), ("kips",), ("Kip",), ("кип", "кипа", "кипов")),
    "₮": (("tugrik", "tugriks"), ("图格里克",), ("tugriks",), ("Tugrik",), ("тугрик", "тугрика", "тугриков")),
    "₡": (("colon", "colons"), ("科朗",), ("colons",), ("Colón",), ("колон", "колона", "колонов")),
    "₲": (("guarani", "guaranis"), ("瓜拉尼",), ("guaranis",), ("Guaraní",), ("гуарани",)),
    "₵": (("cedi", "cedis"), ("塞地",), ("cedis",), ("Cedi",), ("седи",)),
}
"""Signs before a number or behind it."""

SCALES: Final = {
    "en": r"hundred|thousand|million|billion|trillion|[kKmMbB](?![A-Za-z])",
    "cmn": "[十百千]?[万亿]+|[十百千]",
    "fr": "mille|millions?|milliards?",
    "de": "[Tt]ausend|Millionen|Million|Milliarden|Milliarde|Mio\\.|Mrd\\.",
    "ru": "тысяч[аи]?|миллион(?:а|ов)?|миллиард(?:а|ов)?|тыс\\.|млн|млрд",
}
"""Words that may stand between a number and its currency."""

_DIGITS: Final = {
    "en": ("one", "two", "three", "four", "five", "six", "seven"),
    "fr": ("un", "deux", "trois", "quatre", "cinq", "six", "sept"),
    "de": ("ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben"),
    "ru": ("одна", "две", "три", "четыре", "пять", "шесть", "семь"),
}
_PARTS: Final = {
    "en": ("half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
    "fr": ("demi", "tiers", "quart", "cinquième", "sixième", "septième", "huitième", "neuvième", "dixième"),
    "de": ("halb", "Drittel", "Viertel", "Fünftel", "Sechstel", "Siebtel", "Achtel", "Neuntel", "Zehntel"),
    "ru": ("вторая", "третья", "четвёртая", "пятая", "шестая", "седьмая", "восьмая", "девятая", "десятая"),
}
_MORE: Final = {"en": "{}s", "fr": "{}s", "de": "{}"}
_RUSSIAN: Final = {(1, 3): "одна треть", (2, 3): "две трети", (1, 4): "одна четверть", (3, 4): "три четверти"}
WITH_FRACTION: Final = dict(zip(LANGUAGES, (" and ", "又", " et ", " ", " и "), strict=True))
"""Between a number and a fraction behind it."""


def fraction(numerator: int, denominator: int, language: str) -> str:
    """Return a vulgar fraction's words, such as "three quarters"."""
    if language == "cmn":
        return f"{denominator}分之{numerator}"
    if language == "ru" and (numerator, denominator) in _RUSSIAN:
        return _RUSSIAN[numerator, denominator]
    part = _PARTS[language][denominator - 2]
    if numerator > 1:
        part = f"{part[:-2]}ых" if language == "ru" else _MORE[language].format(part)
    if language == "fr" and part == "tierss":
        part = "tiers"
    return f"{_DIGITS[language][numerator - 1]} {part}"


def form(forms: Forms, number: str, language: str) -> str:
    """Return the form that goes with a number as it is written."""
    if len(forms) == 1 or language == "cmn":
        return forms[0]
    if language == "ru":
        return forms[_russian(number)]
    return forms[0 if number == "1" else 1]


def _russian(number: str) -> int:
    if not number.isdigit():
        return 1  # 5,5 процента
    tens, ones = int(number[-2:]) // 10, int(number[-1])
    if tens == 1 or ones == 0 or ones > 4:  # noqa: PLR2004 (Russian's own rule)
        return 2
    return 0 if ones == 1 else 1
