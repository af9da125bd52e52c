"""Engines, which turn an utterance into sound, and how one is built from its section of the settings; what is made of their speech is above."""

from sayonce.core.audio_start import AudioStart
from sayonce.speech.engines.base import Engine, State
from sayonce.speech.engines.build import KINDS, build_engine
from sayonce.speech.engines.declaration import Declaration, Voice
from sayonce.speech.engines.local import Emit, LocalEngine
from sayonce.speech.engines.options import Count, EngineOptions
from sayonce.speech.engines.parameters import Parameter
from sayonce.speech.engines.references import Reference
from sayonce.speech.engines.utterance import Utterance

__all__ = [
    "KINDS",
    "AudioStart",
    "Count",
    "Declaration",
    "Emit",
    "Engine",
    "EngineOptions",
    "LocalEngine",
    "Parameter",
    "Reference",
    "State",
    "Utterance",
    "Voice",
    "build_engine",
]
