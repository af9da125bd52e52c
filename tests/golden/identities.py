"""The identity of each engine and adapter: the document that becomes the key, with placeholders for what an installation has."""

import re
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import sayonce
from sayonce.cache import Cache
from sayonce.config import load_settings
from sayonce.core.key import canonical
from sayonce.features import speaker_encoder
from sayonce.features.adapters import _fingerprint, _state
from sayonce.service import Service
from sayonce.speech.engines import build_engine, indextts2
from tests.golden.content import reference
from tests.helpers.bare_engines import CALLS, WRAPS, Engine

_DIGEST = re.compile(r"[0-9a-f]{64}")
_INSTALLED = ("assets", "library", "data")
"""Fields with the digest of files that come with a library."""
_LIBRARIES = {*_fingerprint._LIBRARIES, *indextts2._LIBRARIES, "hibari-tts", "scipy", "espeakng-loader"}
TEXT = "Dr. Smith paid $5.50 & 10½ % in 1984 – twice; see §3…"
"""Has signs and numbers, which the embedded engines read as words."""
FAR = {"base_url": "http://speech.example/v1", "model": "speech-1", "revision": "golden"}
EDITION = """
class IndexTTS2:
    def infer_generator(self): ...
"""


def plain(document: Any) -> Any:
    """Return a document without what an installation has, and no release: versions of libraries, digests of their files."""
    if isinstance(document, dict):
        hidden = dict.fromkeys(_LIBRARIES, "<version>") | dict.fromkeys(_INSTALLED, "<digest>")
        return {name: hidden.get(name) or plain(value) for name, value in document.items()}
    return [plain(each) for each in document] if isinstance(document, list | tuple) else document


def undigested(document: Any) -> Any:
    """Return a document without any digests: those of a stand-in's code change with the tests."""
    if isinstance(document, dict):
        return {name: undigested(value) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [undigested(each) for each in document]
    is_digest = isinstance(document, bytes) or (isinstance(document, str) and _DIGEST.fullmatch(document))
    return "<digest>" if is_digest else document


def spoken(kind: str, options: dict[str, Any], **fields: Any) -> Callable[[Path], Any]:
    """Return what finds the document of a request to an engine of a kind; all parameters have their defaults."""

    def find(folder: Path) -> Any:
        placed = {
            name: value.format(folder=folder) if isinstance(value, str) else value for name, value in options.items()
        }
        settings = load_settings(environment={}, overrides={"store.url": "memory://"})
        synthesizer = Service(settings, [build_engine(kind, {"kind": kind, **placed})]).synthesizer
        request = synthesizer.parse({"model": kind, "input": TEXT, **fields}, "acme")
        return plain(synthesizer.document(request, "acme"))

    return find


def indextts2_of(version: str, module: str) -> Callable[[Path], Any]:
    """Return what finds the document of IndexTTS2, of which a stand-in is installed: the code is digested, and not run."""

    def find(folder: Path) -> Any:
        (folder / "config.yaml").touch()
        options = {"model_dir": "{folder}", "version": version, "revision": "golden"}
        audio = f"data:audio/wav;base64,{b64encode(reference(220)).decode()}"
        with installed(folder, module):
            return spoken("indextts2", options, ref_audio=audio, ref_text="what is said")(folder)

    return find


@contextmanager
def installed(folder: Path, module: str) -> Iterator[None]:
    """Have a module of a package that is in no other place."""
    package, _, name = module.partition(".")
    (folder / package).mkdir()
    (folder / package / "__init__.py").touch()
    (folder / package / f"{name}.py").write_text(EDITION)
    with patch.object(sys, "path", [str(folder), *sys.path]), patch.dict(sys.modules):
        yield
    sys.path_importer_cache.pop(str(folder), None)


def digests(folder: Path) -> Any:
    """Return digests of code, of weights and of files, as adapters take them."""
    file = folder / "weights"
    file.write_bytes(b"weights")
    weights = {"array": np.arange(6, dtype="f4"), "file": file}
    with installed(folder, "golden_engine.model"):
        code = _fingerprint.code_of(import_module("golden_engine.model").IndexTTS2)
    return {"code": code, **{name: _fingerprint.weights_of(name, part) for name, part in weights.items()}}


class Told(Exception):
    """The document of a key, raised in place of it."""

    def __init__(self, document: Any) -> None:
        super().__init__()
        self.document = document


def adapted(name: str) -> Callable[[Path], Any]:
    """Return what finds the documents of an adapter's features, and of the state of the engine that is part of them."""

    def find(_: Path) -> Any:
        states: list[Any] = []

        def noted(document: Any) -> bytes:
            states.append(document)
            return canonical(document)

        def tell(_: Any, document: Any) -> None:
            raise Told(document)

        with sayonce.open_sync("memory://") as cache:
            engine = WRAPS[name](Engine(), cache, revision="golden")
            with patch.object(_state, "canonical", noted), patch.object(Cache, "key", tell):
                try:
                    CALLS[name](engine, reference(220))
                except Told as told:
                    return undigested(plain({"key": told.document, "engine": states[-1]}))
        raise AssertionError(f"{name} asked for no key")

    return find


def speaker_encoder_of(_: Path) -> Any:
    return {"preprocessing": speaker_encoder._PREPROCESSING}


IDENTITIES: dict[str, Callable[[Path], Any]] = {
    "espeak": spoken("espeak", {}, voice="en-us"),
    "hibari": spoken("hibari", {}, voice="heart"),
    "openai": spoken("openai", FAR, voice="anna"),
    "openai, pcm": spoken("openai", FAR | {"response_format": "pcm"}, voice="anna", style="warm"),
    "openai, mp3": spoken("openai", FAR | {"response_format": "mp3"}, voice="anna", speed=1.5),
    "indextts2, 2": indextts2_of("2", "indextts.infer_v2"),
    "indextts2, 2.5": indextts2_of("2.5", "indextts.infer_v2_5"),
    **{f"adapter {name}": adapted(name) for name in WRAPS},
    "adapters' digests": digests,
    "speaker encoder": speaker_encoder_of,
}
"""By the name of the engine or adapter, what finds its identity; each may make files in the folder that it is given."""


def differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Yield the places where two identities differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from differences(before.get(name, "nothing"), now.get(name, "nothing"), f"{path}.{name}".lstrip("."))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif (type(before), before) != (type(now), now):
        yield f"{path} was {before!r} and is {now!r}"
