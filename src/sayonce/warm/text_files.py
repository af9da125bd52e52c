"""Read a file of texts in its encoding: UTF-8, UTF-16 with its mark, or Chinese as Windows and Excel save it (GB18030)."""

from __future__ import annotations

import codecs
import re
from typing import Final

from sayonce.errors import ConfigError

_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF32: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_HAN: Final = re.compile("[\u4e00-\u9fff]")
_PRIVATE: Final = re.compile("[\ue000-\uf8ff]")
_FREQUENT: Final = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去"
    "法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又"
    "关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先"
    "海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件"
    "计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求"
    "号码订单快递支付账百元千块验证短信银行卡服务忙线挂断您"
    "据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运笔您请谢欢迎稍拨按键客服转留言音速"
)
"""The characters that make up most of any Chinese text; in Korean, Japanese or Russian read as GB18030 they are few."""
_LEAST_COMMON: Final = 0.9
"""Of the characters in simplified script: those of GB2312."""
_LEAST_FREQUENT: Final = 0.35
"""Of the characters: in Chinese of dialogues and telephones 0.7, in Korean that is read so 0.1."""
_FEW: Final = 3
"""Frequent characters that prove nothing by chance; fewer do where there is no other."""


def decode(content: bytes, name: str) -> tuple[str, str | None]:
    """Return the text of a file, and its encoding where that is not UTF-8.

    In a text that is in none of these, bytes that are not UTF-8 are lone surrogates, so that its lines can be named.

    Raises:
        ConfigError: it is no text.

    """
    if content.startswith(_UTF16) and not content.startswith(_UTF32):
        try:
            return content.decode("utf-16"), "UTF-16"
        except UnicodeDecodeError:
            raise ConfigError(f"{name}: is UTF-16 that is cut or damaged; save it as UTF-8") from None
    if b"\0" in content:
        raise ConfigError(f"{name}: has NUL bytes: it is no text, or UTF-16 without its mark; save it as UTF-8")
    try:
        return content.decode("utf-8-sig"), None
    except UnicodeDecodeError:
        chinese = _as_chinese(content)
    return (chinese, "GB18030") if chinese else (content.decode("utf-8-sig", errors="surrogateescape"), None)


def _as_chinese(content: bytes) -> str | None:
    """Return what the bytes mean in GB18030, if that is Chinese: nearly any bytes mean something in it."""
    try:
        text = content.decode("gb18030")
    except UnicodeDecodeError:
        return None
    han = "".join(_HAN.findall(text))
    common = len(han.encode("gb2312", errors="ignore")) // 2  # UTF-8 that was cut becomes others
    frequent = sum(character in _FREQUENT for character in han)
    plausible = common >= _LEAST_COMMON * len(han) and frequent >= min(len(han), max(_FEW, _LEAST_FREQUENT * len(han)))
    return text if han and plausible and not _PRIVATE.search(text) else None
