"""The one door for sound from outside: what a server answered, or a reference file, becomes samples here or is refused.

Each container has a module that reads its own frames and lengths; two libraries decode them. What comes out is every
sample of every frame, or ``BadAudio``. What Sayonce encodes itself is in ``sayonce.speech.audio``.
"""

from __future__ import annotations
