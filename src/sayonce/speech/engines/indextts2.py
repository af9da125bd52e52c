"""IndexTTS2 in this process, versions 2 and 2.5, its encoders run once a voice through the cache."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from sayonce.errors import ConfigError, EngineError, InvalidRequest, NotFound, quoted
from sayonce.speech.engines.declaration import Voice
from sayonce.speech.engines.fingerprint import below, digest_of, versions
from sayonce.speech.engines.local import Emit, LocalEngine
from sayonce.speech.engines.options import EngineOptions
from sayonce.speech.engines.parameters import Parameter
from sayonce.speech.engines.references import decode_reference
from sayonce.speech.engines.utterance import Utterance

Version = Literal["2", "2.5"]

_MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "2": ("indextts.infer_v2",),
    "2.5": ("indextts.infer_v2_5", "indextts25.infer_v2_5"),
}
"""Where the engine's class may be, by the distributions that there are."""
_LIBRARIES: Final = ("torch", "torchaudio", "transformers", "librosa", "numpy")
"""Libraries below the package, which generate, decode and draw the random numbers."""

_COMMON: Final = (
    Parameter(name="emo_audio", type=str, longest=None, description="audio of the emotion, as a data URL or in base64"),
    Parameter(name="emo_alpha", type=float, default=1.0, minimum=0.0, maximum=1.0, description="its strength"),
    Parameter(
        name="emo_vector",
        type=list,
        length=8,
        description="happy, angry, sad, afraid, disgusted, melancholic, surprised, calm",
    ),
    Parameter(name="use_emo_text", type=bool, default=False, description="take the emotion from a text"),
    Parameter(name="emo_text", type=str, description="that text; the input when left out"),
    Parameter(name="use_random", type=bool, default=False),
    Parameter(name="interval_silence", type=int, default=200, minimum=0, maximum=10_000, description="ms"),
    Parameter(name="max_text_tokens_per_segment", type=int, default=120, minimum=1),
    Parameter(name="top_p", type=float, default=0.8, minimum=0.0, maximum=1.0),
    Parameter(name="top_k", type=int, default=30, minimum=0),
    Parameter(name="temperature", type=float, default=0.8, minimum=0.0),
    Parameter(name="length_penalty", type=float, default=0.0),
    Parameter(name="num_beams", type=int, default=3, minimum=1),
    Parameter(name="repetition_penalty", type=float, default=10.0, minimum=0.0),
    Parameter(name="max_mel_tokens", type=int, default=1500, minimum=1),
    # The engine has no seed of its own: without one every synthesis would be another take.
    Parameter(name="seed", type=int, default=0, minimum=0),
)
_ONLY_2_5: Final = (
    Parameter(name="lang", type=str, default="zh", description="of the text"),
    Parameter(name="duration_factor", type=float, default=1.0, minimum=0.1, maximum=10.0),
    Parameter(name="text_normalization", type=bool, default=True),
)


class IndexTTS2Options(EngineOptions, frozen=True, kw_only=True):
    """``[engines.NAME]`` of kind ``indextts2``.

    ``model_dir`` holds the weights and ``config.yaml``. ``revision`` stands for the weights in the key; without it they
    are digested when the gateway starts, about a second for each gigabyte. ``options`` goes to the engine's class as it
    is, such as ``use_fp16 = true``, and is part of the key.
    """

    model_dir: str
    version: Version = "2"
    revision: str | None = None
    options: Mapping[str, Any] = MappingProxyType({})


class IndexTTS2Engine(LocalEngine):
    """Speaks in the voice of a reference: an uploaded one by its name, or one that is sent along as ``ref_audio``.

    Its stream has a silence after the last segment, and its file has none (index-tts ee40fa7, ``infer_v2.py``): where it
    streams, what is kept is always the stream.
    """

    kind = "indextts2"
    options = IndexTTS2Options
    sample_rate_hz = 22_050
    clones = True
    concurrency = 1
    adapter: Callable[[Any, str], Any] = staticmethod(lambda model, _revision: model)
    """Makes the loaded model, of a revision, remember what it computes from references; without one it computes each time."""

    def __init__(self, name: str, options: IndexTTS2Options) -> None:
        super().__init__(name)
        self._options = options
        self.parameters = _COMMON if options.version == "2" else (*_COMMON, *_ONLY_2_5)
        self._model_dir = Path(options.model_dir)
        if not (self._model_dir / "config.yaml").is_file():
            raise ConfigError(
                f"engines.{name}.model_dir: {options.model_dir} has no config.yaml; it is the weights' folder"
            )
        self._tts: Any = None

    def identity(self) -> Mapping[str, Any]:
        return {
            "kind": self.kind,
            "version": self._options.version,
            "weights": self._revision,
            "code": self._code,
            "libraries": versions(*_LIBRARIES),
            "options": dict(self._options.options),
            "stream": self._streams,
        }

    @cached_property
    def _revision(self) -> str:
        if self._options.revision is not None:
            return self._options.revision
        return digest_of(self._model_dir, below(self._model_dir))

    @cached_property
    def _module(self) -> ModuleSpec:
        for name in _MODULES[self._options.version]:
            with suppress(ModuleNotFoundError):
                spec = find_spec(name)
                if spec is not None:
                    return spec
        raise ConfigError(
            f"engines.{self.name}: IndexTTS2 {self._options.version} is not installed; there must be a module "
            f"{' or '.join(_MODULES[self._options.version])}"
        )

    @cached_property
    def _code(self) -> str:
        """Digest of the package's code, known without importing it: an upgrade may speak otherwise."""
        assert self._module.origin is not None
        package = Path(self._module.origin).parent
        return digest_of(package, package.rglob("*.py"))

    def voices(self) -> tuple[Voice, ...]:
        return ()

    def resolve_voice(self, voice: str) -> str:
        """Refuse every name: those of uploaded voices are resolved before it is asked."""
        raise NotFound(
            f"{self.name!r} speaks in the voice of a reference, and there is none named {quoted(voice)}: upload one to "
            "/v1/audio/voices, or send it as 'ref_audio'",
            param="voice",
        )

    async def load(self) -> None:
        await super().load()
        self._tts = self.adapter(self._tts, self._revision)

    def load_model(self) -> None:
        try:
            found = import_module(self._module.name)
        except ImportError as error:
            raise EngineError(f"{self.name!r} cannot import {self._module.name}: {error}") from error
        self._tts = found.IndexTTS2(
            cfg_path=str(self._model_dir / "config.yaml"), model_dir=str(self._model_dir), **self._options.options
        )

    def speak(self, utterance: Utterance, emit: Emit) -> None:
        import numpy as np  # noqa: PLC0415
        import torch  # noqa: PLC0415 (comes with the engine)

        given = dict(utterance.parameters)
        seed = given.pop("seed")
        torch.manual_seed(seed)
        random.seed(seed)
        with tempfile.TemporaryDirectory(prefix="sayonce-") as folder:
            assert utterance.reference is not None
            assert utterance.reference.audio is not None
            speaker = _file(folder, "speaker", utterance.reference.audio)
            emotion = given.pop("emo_audio")
            given["emo_audio_prompt"] = None if emotion is None else _file(folder, "emotion", _decoded(emotion))
            if not self._streams:
                _, samples = self._tts.infer(speaker, utterance.text, None, **given)
                emit(np.asarray(samples, "<i2").tobytes())
                return
            for piece in self._tts.infer(speaker, utterance.text, None, stream_return=True, **given):
                emit(np.asarray(piece.cpu(), np.float32).clip(-32767, 32767).astype("<i2").tobytes())

    @cached_property
    def _streams(self) -> bool:
        """Whether this edition streams; not every distribution does, and the key has to know without importing it."""
        assert self._module.origin is not None
        return "def infer_generator" in Path(self._module.origin).read_text(encoding="utf-8")


def _file(folder: str, name: str, audio: bytes) -> str:
    path = Path(folder, name)
    path.write_bytes(audio)
    return str(path)


def _decoded(sent: str) -> bytes:
    from sayonce.audio.voice import Voice  # noqa: PLC0415 (with numpy and soundfile)

    audio = decode_reference(sent, "emo_audio")
    try:
        Voice.from_audio(audio, apart=True)
    except InvalidRequest as error:
        raise InvalidRequest(f"'emo_audio': {error.message}", param="emo_audio") from None
    return audio
