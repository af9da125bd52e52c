"""The body of a request to a speech server: OpenAI's form, with vLLM-Omni's fields for a reference."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Final

from sayonce.audio.decode.media_type import media_type_of
from sayonce.speech.engines.parameters import Parameter
from sayonce.speech.engines.utterance import Utterance

_OUR_OWN: Final = ("stream", "stream_format")
"""How our clients are answered, which says nothing of how a server is asked."""


def body_of(utterance: Utterance, parameters: Iterable[Parameter], response_format: str) -> dict[str, Any]:
    """Fill OpenAI's form, but for the speaker. Defaults are left out, so that they and leaving them out are one request."""
    defaults = [(declared.name, declared.default) for declared in parameters]
    given = {
        name: value
        for name, value in utterance.parameters.items()
        if name not in _OUR_OWN and (name, value) not in defaults
    }
    return given | {"model": utterance.model, "input": utterance.text, "response_format": response_format}


def speaker_of(utterance: Utterance) -> dict[str, Any]:
    """Return the fields that name the speaker: a voice of the server's, or a reference in vLLM-Omni's fields."""
    reference = utterance.reference
    if reference is None:
        return {"voice": utterance.voice}
    assert reference.audio is not None
    audio = base64.b64encode(reference.audio).decode()
    return {"ref_audio": f"data:{media_type_of(reference.audio)};base64,{audio}", "ref_text": reference.text or None}
