"""Speak lines in cloned voices with IndexTTS2; each voice is encoded once, ever, by whichever process comes first.

python examples/clone_voices.py MODEL_DIR --text "Good morning." --text "Good night." alice.wav bob.flac

Run it twice: the second run loads no reference and runs no encoder. Needs `pip install sayonce indextts2-inference` and the
model's weights.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import sayonce


def clone(tts: Any, references: list[Path], texts: list[str]) -> list[Path]:
    """Speak every text in every voice; return the files."""
    spoken = []
    for reference in references:
        for number, text in enumerate(texts, 1):
            started = time.perf_counter()
            path = reference.with_name(f"{reference.stem}-{number}.wav")
            tts.infer(str(reference), text, str(path))
            print(f"{path}: {time.perf_counter() - started:.1f} s")
            spoken.append(path)
    return spoken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir")
    parser.add_argument("references", nargs="+", type=Path)
    parser.add_argument("--text", action="append", required=True)
    parser.add_argument("--cache", default="sqlite://", help="where features are kept (default: one file)")
    options = parser.parse_args()

    try:
        from indextts.infer_v2 import IndexTTS2  # noqa: PLC0415 (loading it takes a while: arguments first)
    except ModuleNotFoundError as missing:
        sys.exit(f"there is no package {missing.name!r} here: pip install indextts2-inference")

    with sayonce.open_sync(options.cache) as cache:
        tts = sayonce.adapters.indextts2.wrap(IndexTTS2(options.model_dir), cache)
        clone(tts, options.references, options.text)
        print(f"voices remembered: {cache.counters.get('hit', 0):.0f}, encoded: {cache.counters.get('led', 0):.0f}")


if __name__ == "__main__":
    main()
