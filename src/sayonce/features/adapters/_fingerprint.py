"""Digests of an engine's code, of the libraries below it, and of its weights: features depend on them, too."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np

from sayonce.core.key import canonical
from sayonce.errors import Unkeyable
from sayonce.features.adapters._compiled import compiled
from sayonce.features.arrays import from_numpy, from_torch, is_torch

_LIBRARIES: Final = (
    "kaldi-native-fbank", "librosa", "numpy", "onnxruntime", "onnxruntime-gpu", "openai-whisper", "pyloudnorm",
    "s3tokenizer", "scipy", "soxr", "torch", "torchaudio", "transformers",
)  # fmt: skip
"""Distributions that run between a reference and its features, in one engine or another."""
_BLOCK_BYTES: Final = 1 << 22


def kind_of(engine: Any) -> list[Any]:
    """Return the digest of an engine's code, and the versions of the libraries below it."""
    libraries = {name: _version(name) for name in _LIBRARIES}
    return [type(engine).__qualname__, code_of(type(engine)), libraries]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def code_of(thing: Any) -> str:
    """Digest the Python files of the package that a class or a function is from, or of its own file.

    Code without a file, such as a notebook's, is digested as it is compiled.
    """
    module = sys.modules.get(thing.__module__)
    package = sys.modules.get(thing.__module__.partition(".")[0], module)
    folders = [Path(folder) for folder in getattr(package, "__path__", ())]
    own = Path(getattr(module, "__file__", None) or "")
    files = [(folder, file) for folder in folders for file in sorted(folder.rglob("*.py"))]
    files = files or ([(own.parent, own)] if own.is_file() else [])
    if not files:
        return blake2b(canonical(compiled(thing)), digest_size=32).hexdigest()
    return _digest((str(file.relative_to(root)), file.read_bytes()) for root, file in files)


def weights_of(name: str, part: Any) -> str:
    """Return the digest of a torch module, a tensor, an array, or files.

    Raises:
        Unkeyable: they cannot be read.

    """
    if isinstance(part, Path):
        return _digest(_files(part))
    if hasattr(part, "state_dict"):
        return _digest((key, _array(value)) for key, value in sorted(part.state_dict().items()))
    if is_torch(part) or isinstance(part, np.ndarray):
        return _digest([(name, _array(part))])
    raise Unkeyable(f"the weights of {name} cannot be read; pass revision=, which changes whenever they do")


def precision_of(_: str, part: Any) -> list[str]:
    """Return the types of the numbers in a network or an array, which tell half precision from full."""
    arrays = part.state_dict().values() if hasattr(part, "state_dict") else [part]
    return sorted({str(array.dtype) for array in arrays if hasattr(array, "dtype")})


def _array(value: Any) -> bytes:
    try:
        flat = from_torch(value) if is_torch(value) else from_numpy(np.asarray(value))
    except TypeError as error:
        raise Unkeyable(
            f"the weights cannot be read: {error}; pass revision=, which changes whenever they do"
        ) from None
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
