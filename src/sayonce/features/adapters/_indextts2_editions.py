"""The editions of IndexTTS2, which differ in where they keep the features of references."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import BoundArguments
from typing import Any, Final, Protocol

from sayonce.errors import EngineError
from sayonce.features.adapters._wrapping import method_of

Features = tuple[str, Any]
"""A voice's id, and the features that were computed of it."""
KIND: Final = "an IndexTTS2"


class Edition(Protocol):
    """An engine of one edition, and the attributes in which it keeps features."""

    method: str
    """The name of the method that is replaced: every other way to synthesize leads through it."""
    original: Callable[..., Any]
    signature: inspect.Signature

    def encode(self, part: str, path: str) -> Any:
        """Let the engine compute its ``speaker`` or its ``emotion`` features of a reference."""

    def filled(self, call: BoundArguments, speaker: Features, emotion: Features) -> Any:
        """Return a context in which a call finds the features instead of computing them."""

    def emptied(self) -> Any:
        """Return a context in which a call finds nothing, and computes what it needs."""


class OnePath:
    """Keeps the features of one path: index-tts, ``indextts2-inference``, ``tts-webui.index-tts``.

    The attributes are filled under a voice's id, and the call is given that id for a path, which is then never opened.
    """

    _SPEAKER: Final = ("cache_spk_cond", "cache_s2mel_style", "cache_s2mel_prompt", "cache_mel")
    _EMOTION: Final = ("cache_emo_cond",)

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.method = "infer_generator" if hasattr(engine, "infer_generator") else "infer"
        self.original = method_of(engine, self.method, engine, KIND)
        self.signature = inspect.signature(self.original)

    def encode(self, part: str, path: str) -> list[Any]:
        """Run the engine's own code until it turns to the text, with the other part's attributes held as filled."""
        names = self._SPEAKER if part == "speaker" else self._EMOTION
        self._fill(self._SPEAKER, "cache_spk_audio_prompt", None if part == "speaker" else path)
        self._fill(self._EMOTION, "cache_emo_audio_prompt", path if part == "speaker" else None)
        try:
            self._run_to_the_text(path)
            features = [getattr(self._engine, name) for name in names]
        finally:
            self._empty()
        if any(feature is None for feature in features):
            raise EngineError("this edition of IndexTTS2 computes the features of its references elsewhere")
        return features

    @contextmanager
    def emptied(self) -> Iterator[None]:
        self._empty()
        yield

    def _empty(self) -> None:
        self._fill(self._SPEAKER, "cache_spk_audio_prompt", None)
        self._fill(self._EMOTION, "cache_emo_audio_prompt", None)

    def _fill(self, names: tuple[str, ...], label: str, path: str | None) -> None:
        """Mark attributes as filled for a path, or, for None, as empty."""
        for name in (*names, label):
            setattr(self._engine, name, path)

    def _run_to_the_text(self, path: str) -> None:
        language = {"lang": "en"} if "lang" in self.signature.parameters else {}
        kept = {name: vars(self._engine)[name] for name in ("tokenizer", "text_process") if name in vars(self._engine)}
        vars(self._engine).update(dict.fromkeys(kept, _Text()))
        try:
            run = self.original(path, ".", None, **language)
            for _ in run if inspect.isgenerator(run) else ():
                break
        except _TurnedToText:
            pass
        finally:
            vars(self._engine).update(kept)

    @contextmanager
    def filled(self, call: BoundArguments, speaker: Features, emotion: Features) -> Iterator[None]:
        given = call.arguments
        given["spk_audio_prompt"] = self._engine.cache_spk_audio_prompt = speaker[0]
        self._engine.cache_emo_audio_prompt = emotion[0]
        if given.get("emo_audio_prompt") is not None:
            given["emo_audio_prompt"] = emotion[0]
        values = dict(zip((*self._SPEAKER, *self._EMOTION), (*speaker[1], *emotion[1]), strict=True))
        vars(self._engine).update(values)
        yield


class _TurnedToText(Exception):
    """The engine has its features and begins with the text."""


class _Text:
    """Replaces the engine's text processing, and ends the run as soon as it is used."""

    def __getattr__(self, name: str) -> Any:
        raise _TurnedToText(name)


class PathDictionaries:
    """Keeps features in two dictionaries by path and time of change, which two methods fill: ``indextts25-inference``."""

    _METHODS: Final = {"speaker": "_speaker_conditioning", "emotion": "_emotion_conditioning"}

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._own = {part: getattr(engine, name) for part, name in self._METHODS.items()}
        self._voices: tuple[str, str] | None = None
        self.method = "infer_generator"
        self.original = method_of(engine, self.method, engine, KIND)
        self.signature = inspect.signature(self.original)

    def encode(self, part: str, path: str) -> Any:
        table = self._engine._spk_cache if part == "speaker" else self._engine._emo_cache  # noqa: SLF001
        try:
            return self._own[part](path, path)
        finally:
            table.pop(path, None)

    @contextmanager
    def filled(self, call: BoundArguments, speaker: Features, emotion: Features) -> Iterator[None]:  # noqa: ARG002
        """Answer for the two methods; the vectors that it derives from both go by path, too, and so must go."""
        voices = speaker[0], emotion[0]
        if voices != self._voices:
            self._engine._emovec_cache.clear()  # noqa: SLF001
            self._voices = voices
        own = {name: vars(self._engine)[name] for name in self._METHODS.values() if name in vars(self._engine)}
        for part, found in (("speaker", speaker), ("emotion", emotion)):
            setattr(self._engine, self._METHODS[part], lambda *_, found=found: found[1])
        try:
            yield
        finally:
            for name in self._METHODS.values():
                delattr(self._engine, name)
            vars(self._engine).update(own)

    @contextmanager
    def emptied(self) -> Iterator[None]:
        """Clear the three dictionaries: they go by path, and a path may hold another voice by now."""
        for name in ("_spk_cache", "_emo_cache", "_emovec_cache"):
            getattr(self._engine, name).clear()
        self._voices = None
        yield
