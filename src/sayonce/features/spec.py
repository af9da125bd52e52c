"""Declared types and shapes of arrays, checked when they are stored and when they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from sayonce.errors import with_article
from sayonce.features.arrays import dtype_name, is_torch

Spec = tuple[Any, tuple[int | None, ...]] | Mapping[str, "Spec"] | list["Spec"]
"""``("float32", (1, 192))`` for an array, where None is any length; a mapping by field name, where fields
that are no arrays may be left out; a list by position."""


def mismatch(value: Any, spec: Spec, path: str = "") -> str | None:
    """Return how a value differs from its declaration, naming the field; None if it does not."""
    if isinstance(spec, tuple):
        return _array_mismatch(value, *spec, path=path or "the value")
    if isinstance(spec, Mapping):
        return _fields_mismatch(parts_of(value), spec, path)
    parts = dict(enumerate(value)) if isinstance(value, Sequence) else {}
    return _fields_mismatch(parts, dict(enumerate(spec)), path)


def parts_of(value: Any) -> dict[str, Any]:
    """Return a dict's items, a dataclass's or a named tuple's fields, without copying what they hold."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, dict):
        return value
    return dict(zip(names, value, strict=True)) if (names := getattr(value, "_fields", None)) else {}


def _fields_mismatch(parts: Mapping[Any, Any], spec: Mapping[Any, Spec], path: str) -> str | None:
    arrays = {name for name, part in parts.items() if _is_array(part)}
    if not arrays <= spec.keys() <= parts.keys():
        return f"{path or 'the value'} has {sorted(map(str, parts))}, where {sorted(map(str, spec))} are declared"
    paths = ((f"{path}.{name}" if path else str(name), name) for name in spec)
    return next((found for each, name in paths if (found := mismatch(parts[name], spec[name], each))), None)


def _array_mismatch(value: Any, dtype: Any, shape: tuple[int | None, ...], *, path: str) -> str | None:
    if not _is_array(value):
        return f"{path} is {with_article(type(value).__name__)}, where an array is declared"
    if dtype_name(value.dtype) != dtype_name(dtype):
        return f"{path} is of {value.dtype}, where {dtype} is declared"
    fits = len(value.shape) == len(shape) and all(w in (None, n) for n, w in zip(value.shape, shape, strict=True))
    return None if fits else f"{path} has the shape {tuple(value.shape)}, where {shape} is declared"


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or is_torch(value)
