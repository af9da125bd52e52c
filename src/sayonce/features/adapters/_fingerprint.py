"""What an engine's features depend on besides the clip: its code, the libraries below it, and its weights."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np

from sayonce.core.key import canonical
from sayonce.errors import Unkeyable
from sayonce.features.arrays import from_numpy, from_torch, is_torch

_LIBRARIES: Final = (
    "kaldi-native-fbank", "librosa", "numpy", "onnxruntime", "onnxruntime-gpu", "openai-whisper", "pyloudnorm",
    "s3tokenizer", "scipy", "soxr", "torch", "torchaudio", "transformers",
)  # fmt: skip
"""Distributions whose code runs between a clip and its features, in one engine or another."""
_BLOCK_BYTES: Final = 1 << 22


def revision_of(engine: Any, weights: Mapping[str, Any], given: str | None, **settings: Any) -> str:
    """Return the identity of what makes an engine's features.

    Args:
        engine: its class says which code it is; every Python file of that package counts.
        weights: what computes the features, by name: torch modules, tensors, arrays, ``Path`` of files or folders.
        given: stands for the weights, whose digest costs about a second per gigabyte, but not for their precision.
        settings: what else the features depend on.

    Raises:
        Unkeyable: the weights cannot be read, and no revision is given.

    """
    digest = _weights if given is None else _precision
    digests = {name: digest(name, part) for name, part in weights.items()}
    libraries = {name: _version(name) for name in _LIBRARIES}
    document = [type(engine).__qualname__, code_of(type(engine)), libraries, given, digests, settings]
    return blake2b(canonical(document), digest_size=32).hexdigest()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def code_of(thing: type | Callable[..., Any]) -> str:
    """Digest the Python files of the package that a class or a function is from, or of its own file."""
    module = sys.modules[thing.__module__]
    package = sys.modules.get(module.__name__.partition(".")[0], module)
    folders = [Path(folder) for folder in getattr(package, "__path__", ())]
    own = Path(module.__file__) if module.__file__ else None
    files = [(folder, file) for folder in folders for file in sorted(folder.rglob("*.py"))]
    return _digest((str(file.relative_to(root)), file.read_bytes()) for root, file in files or _alone(own))


def _alone(own: Path | None) -> list[tuple[Path, Path]]:
    return [(own.parent, own)] if own is not None else []


def _weights(name: str, part: Any) -> str:
    if isinstance(part, Path):
        return _digest(_files(part))
    if hasattr(part, "state_dict"):
        return _digest((key, _array(value)) for key, value in sorted(part.state_dict().items()))
    if is_torch(part) or isinstance(part, np.ndarray):
        return _digest([(name, _array(part))])
    raise Unkeyable(f"the weights of {name} cannot be read; pass revision=, which changes whenever they do")


def _precision(_: str, part: Any) -> list[str]:
    """Return the types of the numbers in a network or an array, which tell half precision from full."""
    arrays = part.state_dict().values() if hasattr(part, "state_dict") else [part]
    return sorted({str(array.dtype) for array in arrays if hasattr(array, "dtype")})


def _array(value: Any) -> bytes:
    flat = from_torch(value) if is_torch(value) else from_numpy(np.asarray(value))
    return canonical([flat.dtype, list(flat.shape), blake2b(flat.data).digest()])


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise Unkeyable(f"{os.fspath(path)} is not there; pass revision=, which changes whenever the weights do")
    for file in files:
        digest = blake2b()
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
        yield file.name, digest.digest()


def _digest(parts: Iterable[tuple[str, bytes]]) -> str:
    return blake2b(canonical([[name, blake2b(data).digest()] for name, data in parts]), digest_size=32).hexdigest()
