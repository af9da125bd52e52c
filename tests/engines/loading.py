"""Imports the engines' own, unmodified code; what they import beside it and is not installed is pretended."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(os.environ.get("SAYONCE_ENGINES", Path(__file__).parents[2] / "build" / "engines"))

CHECKOUTS = ("index-tts", "CosyVoice")
"""Not on PyPI: used where someone has laid the repository's code beside the packages."""


class Pretended(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the named packages, whatever is imported of them: every name in them is an empty class, or, in capitals, 1."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if any(name == package or name.startswith(f"{package}.") for package in self._packages):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> ModuleType:
        module = ModuleType(spec.name)
        module.__getattr__ = _anything  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


def _anything(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return 1 if name.isupper() else type(name, (), {})


@contextmanager
def engine(package: str, module: str, *, pretend: tuple[str, ...] = ()) -> Iterator[ModuleType]:
    """Lend one module of an engine's package; afterwards nothing of that package is imported any more."""
    folder = FOLDER / package
    if not folder.exists():
        if "SAYONCE_ENGINES" in os.environ and package not in CHECKOUTS:
            pytest.fail(f"{package} is not installed; run tests/engines/install.sh")
        pytest.skip(f"{package} is not installed; run tests/engines/install.sh")
    finder = Pretended(pretend)
    folders = [str(folder), str(FOLDER / "shared")]
    before = set(sys.modules)
    _without_torchaudio_extension()
    sys.path[:0] = folders
    sys.meta_path.insert(0, finder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield importlib.import_module(module)
    finally:
        sys.meta_path.remove(finder)
        sys.path[:] = [each for each in sys.path if each not in folders]
        own = (module.partition(".")[0], *pretend)
        for name in set(sys.modules) - before:
            if any(name == root or name.startswith(f"{root}.") for root in own):
                del sys.modules[name]


def _without_torchaudio_extension() -> None:
    """Its wheels are linked with CUDA's libraries; what the engines use of it is plain torch code."""
    if "torchaudio" in sys.modules or not (FOLDER / "shared" / "torchaudio").exists():
        return
    extension = ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = extension._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
    extension.fail_if_no_align = lambda function: function  # type: ignore[attr-defined]
    sys.modules["torchaudio._extension"] = extension
