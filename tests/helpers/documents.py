"""The code that the documents show, so that tests can run it."""

import re

from tests.helpers.paths import ROOT


def code_blocks(page: str, language: str = "python") -> list[str]:
    """Return the blocks of code in this language on a page below ``docs``."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
