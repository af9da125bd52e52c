"""The engines of a service, by the names of models and voices that requests may give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from sayonce.errors import ConfigError, NotFound, quoted
from sayonce.speech.engines.nearest import did_you_mean, nearest
from sayonce.speech.openai_names import MODELS, meanings

if TYPE_CHECKING:
    from sayonce.speech.engines import Engine
    from sayonce.speech.voice_names import NamedVoice


class Names(Protocol):
    """The uploaded voices of the tenant that asks."""

    def find(self, name: str, *, required: bool) -> NamedVoice | None:
        """Return a voice by its name or id; see ``VoiceNames.find``."""

    def listed(self) -> Iterable[str]:
        """Return the names."""


class Catalogue:
    """The engines by the names that a request's ``model`` may give; the first is the default.

    A name that an engine was given goes before what its server calls its model, and that before OpenAI's names, which
    mean the first engine. Several engines may have one model: its own name then means the first of them, as does a
    request without a model, so that another engine added behind changes nothing for requests by that name.
    """

    def __init__(self, engines: Iterable[Engine], *, strict: bool = False, openai_names: bool = True) -> None:
        self.engines = tuple(engines)
        self.strict = strict
        self._openai_names = openai_names
        self._meanings: dict[str, Mapping[str, str]] = {}
        self._by_model: dict[str, Engine] = {}
        for engine in self.engines:
            for model in (engine.name, *engine.models):
                if self._by_model.setdefault(model, engine) is not engine:
                    other = self._by_model[model].name
                    raise ConfigError(f"the model name {model!r} is claimed by two engines: {other!r}, {engine.name!r}")
        for engine in self.engines:
            if engine.upstream_model is not None:
                self._by_model.setdefault(engine.upstream_model, engine)
        for engine in self.engines[:1] if openai_names else ():
            for model in MODELS:
                self._by_model.setdefault(model, engine)

    def find(self, model: str | None) -> Engine:
        """Return the engine that serves a model.

        Raises:
            NotFound: listing the models that there are, and the nearest.

        """
        if model is None:
            return self.engines[0]
        engine = self._by_model.get(model)
        if engine is None:
            known = ", ".join(sorted(self._by_model))
            raise NotFound(
                f"there is no model {quoted(model)}; there is: {known} (`aliases` of an engine gives it more names)"
                f"{did_you_mean(nearest(model, self._by_model))}",
                param="model",
            )
        return engine

    def resolve_voice(self, asked: str, engine: Engine, names: Names | None = None) -> str:
        """Return the canonical id of the engine's voice that a name means there.

        ``names`` has the uploaded voices that may have been meant instead.

        Raises:
            NotFound: naming some that exist, and the nearest.

        """
        openais = self.openai_voices(engine)
        try:
            return engine.resolve_voice(openais.get(asked, asked))
        except NotFound as error:
            near = engine.nearest_voice(asked, (*openais, *(names.listed() if names is not None else ())))
            raise NotFound(f"{error.message}{did_you_mean(near)}", param=error.param) from None

    def openai_voices(self, engine: Engine) -> Mapping[str, str]:
        """Return the voices that OpenAI's names stand for at an engine, by these names; see ``meanings``."""
        if not self._openai_names:
            return {}
        found = self._meanings.get(engine.name)
        if found is None:  # espeak reads a hundred files for it, so not before it is needed
            found = self._meanings[engine.name] = meanings(engine)
        return found

    @property
    def clones(self) -> bool:
        """Whether any engine speaks in the voice of a reference."""
        return any(engine.clones for engine in self.engines)

    @property
    def models(self) -> dict[str, Engine]:
        return dict(self._by_model)
