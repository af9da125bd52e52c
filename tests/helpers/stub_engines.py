"""Stub engines that clone, or pass on what they do not know, as engines elsewhere do."""

import io

import soundfile

from sayonce.speech.engines import Parameter
from sayonce.testing import StubEngine


class Cloner(StubEngine):
    """Speaks in the voice of a reference: its noise depends on the reference's samples and transcript."""

    clones = True

    def sound(self, utterance, number):
        reference = utterance.reference
        if reference is not None:
            samples, _ = soundfile.read(io.BytesIO(reference.audio), dtype="int16")
            heard = f"{utterance.text} in {hash(samples.tobytes())} saying {reference.text}"
            utterance = type(utterance)(heard, "reference", utterance.model, utterance.parameters)
        return super().sound(utterance, number)


class Passing(StubEngine):
    """As an engine elsewhere: it takes instructions, any other field and any voice, and clones."""

    kind = "passing"
    passes_unknown = True
    clones = True
    parameters = (Parameter(name="instructions", type=str, default=""),)

    def offers(self, voice: str) -> bool:
        return voice == "anna"

    def resolve_voice(self, voice: str) -> str:
        return voice
