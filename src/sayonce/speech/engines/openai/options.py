"""The options of a section of kind ``openai``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec

from sayonce.speech.engines.options import Count, EngineOptions


class OpenAIOptions(EngineOptions, frozen=True, kw_only=True):
    """``[engines.NAME]`` of kind ``openai``.

    ``base_url`` ends like OpenAI's, before ``/audio/speech``; several are servers of the same model and revision.
    ``revision`` is part of every key: change it when the server's model changes. So is the first address, unless
    ``keyed_as`` has another in its place. ``timeout_seconds`` is for the first byte, and between any two.
    ``concurrency`` is that of each server.
    """

    base_url: str | tuple[str, ...]
    keyed_as: str | None = None
    model: str
    models: tuple[str, ...] = ()
    """Further models of the server, offered under their own names."""
    revision: str = ""
    api_key_env: str | None = None
    voices: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = MappingProxyType({})
    """Fields for requests that do not give them, as if they did."""
    drop: tuple[str, ...] = ("user",)
    """Fields that are left out of what is passed on and keyed."""
    unknown_voices: Literal["pass", "refuse"] = "pass"
    """Whether a name that is neither in ``voices`` nor an uploaded one's is left to the server to know."""
    response_format: Literal["wav", "pcm", "flac", "mp3", "opus", "aac"] = "wav"
    sample_rate_hz: Count | None = None
    """Of raw PCM, when its label does not say it; 24,000 when neither does."""
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    upstream_voices: Literal["auto", "never"] = "auto"
    """Whether uploaded voices are kept at a server that keeps voices, and not sent with each request."""
