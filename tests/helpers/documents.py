"""The code that the documents show, so that tests can run it."""

import re

from tests.helpers.paths import ROOT


def code_blocks(page: str, language: str = "python") -> list[str]:
    """Return the blocks of code in this language on a page below ``docs``."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def programs(page: str) -> list[str]:
    """Return the blocks of Python on a page of the project that are complete: all that are not marked as fragments."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"(^<!-- fragment -->\n)?^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [code for mark, code in blocks if not mark]
