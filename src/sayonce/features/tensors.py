"""Values to bytes and back: arrays, and dicts, lists, tuples, dataclasses and named tuples of them. Never pickle.

``bytes`` are kept as they are, a single small array compactly, everything else as safetensors, with metadata that
say how the arrays make up the value. Values come back with their types, bit for bit: numpy arrays (read-only, or
copies), torch tensors (the caller's own), ``bytes``, ``str``, ``int``, ``float``, ``bool``, ``None``.
"""

from __future__ import annotations

import math
import struct
import typing
import zlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Final, Literal

import msgspec
import numpy as np

from sayonce.cache import Made
from sayonce.core.envelope import Entry, Refused
from sayonce.core.outcome import Refusal
from sayonce.errors import with_article
from sayonce.features.arrays import DTYPES, Flat, from_numpy, from_torch, is_torch, to_numpy, to_torch
from sayonce.features.framing import COMPACT_MAX_BYTES, pack, pack_one, unpack, unpack_one
from sayonce.features.spec import Spec, mismatch, parts_of

BYTES: Final = "application/octet-stream"
COMPACT: Final = "application/x-tensor"
SAFETENSORS: Final = "application/x-safetensors"

_PLAIN: Final = (str, bool, type(None))
_INTEGERS: Final = range(-(2**63), 2**63)
_UNREADABLE: Final = (
    ValueError, KeyError, IndexError, TypeError, StopIteration, ImportError, struct.error, zlib.error, RecursionError,
)  # fmt: skip


class CurrentDevice:
    """A device that may change: what ``find`` returns when a value is read."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self.find = find


class Codec:
    """Turns a function's values into bytes and back.

    Args:
        returns: the function's return type; the dataclasses and named tuples in it can be kept.
        spec: declared types and shapes, see ``sayonce.features.spec.Spec``.
        copy: whether numpy arrays come back as the caller's own copies instead of read-only.
        device: where torch tensors come back; a ``CurrentDevice`` is asked each time.
        storage: ``"float16"`` keeps float32 and float64 in half precision: half the space, and *not exact*.

    """

    def __init__(
        self,
        *,
        returns: Any = None,
        spec: Spec | None = None,
        copy: bool = False,
        device: Any = None,
        storage: Literal["float16"] | None = None,
    ) -> None:
        self._classes = {_name(cls): cls for cls in _records(returns)}
        self._spec = spec
        self._copy = copy
        self._device = device
        self._halves = storage == "float16"

    def encode(self, value: Any) -> Made:
        """Return the value as bytes.

        Raises:
            TypeError: a part of the value cannot be kept, or is not what was declared; the message names the field.

        """
        if self._spec is not None and (what := mismatch(value, self._spec)):
            raise TypeError(what)
        if type(value) is bytes:
            return Made(body=value, media_type=BYTES)
        if not self._halves and _is_small(value):
            kind, flat = _flattened(value)
            return Made(body=pack_one(flat, kind), media_type=COMPACT)
        writer = _Writer(self._classes, halves=self._halves)
        note = msgspec.json.encode(writer.node(value, "")).decode()
        return Made(body=pack(writer.arrays, note), media_type=SAFETENSORS)

    def decode(self, entry: Entry) -> Any:
        """Return the value of an entry.

        Raises:
            Refused: it is no such value, or not what was declared; the caller counts it and treats it as a miss.

        """
        try:
            value = self._decoded(entry)
        except _UNREADABLE:
            raise Refused(Refusal.CONTENT) from None
        if self._spec is not None and mismatch(value, self._spec):
            raise Refused(Refusal.CONTENT)
        return value

    def _decoded(self, entry: Entry) -> Any:
        if entry.media_type == BYTES:
            return entry.body
        if entry.media_type == COMPACT:
            flat, kind = unpack_one(entry.body)
            return self._array(kind, flat)
        if entry.media_type != SAFETENSORS:
            raise ValueError(entry.media_type)
        arrays, note = unpack(entry.body)
        return self._value(msgspec.json.decode(note), arrays)

    def _value(self, node: Any, arrays: dict[str, Flat]) -> Any:
        """Rebuild a value from its node; see ``_Writer.node``."""
        if not isinstance(node, list):
            return node
        kind, content = node[0], node[1]
        if kind in ("list", "tuple"):
            items = [self._value(item, arrays) for item in content]
            return items if kind == "list" else tuple(items)
        if kind == "dict":
            return {name: self._value(item, arrays) for name, item in content.items()}
        if kind == "record":
            return _record(self._classes[content], {name: self._value(item, arrays) for name, item in node[2].items()})
        return self._array(kind, arrays[content], node[2] if len(node) > 2 else None)  # noqa: PLR2004 (kind, name, type)

    def _array(self, kind: str, flat: Flat, restored: str | None = None) -> Any:
        if kind == "bytes":
            return bytes(flat.data)
        if restored is not None:
            wide = to_numpy(flat).astype(DTYPES[restored])
            flat = Flat(restored, flat.shape, wide.tobytes())
        if kind == "torch":
            return to_torch(flat, self._device.find() if isinstance(self._device, CurrentDevice) else self._device)
        array = to_numpy(flat, copy=self._copy)
        if kind == "numpy":
            return array
        return {"scalar": array.__getitem__, "float": lambda _: float(array)}[kind](())


def _is_small(value: Any) -> bool:
    if is_torch(value):
        return bool(value.numel() * value.element_size() <= COMPACT_MAX_BYTES)
    return type(value) is np.ndarray and value.nbytes <= COMPACT_MAX_BYTES


class _Writer:
    """Takes a value apart into named arrays and a tree of nodes.

    A node is a string, number, bool or null as it is, or a JSON array: ``["list"|"tuple", nodes]``,
    ``["dict", {name: node}]``, ``["record", class name, {field: node}]``,
    ``["numpy"|"torch"|"scalar"|"float"|"bytes", name of the array]``, followed by its type when it was narrowed.
    """

    def __init__(self, classes: dict[str, type], *, halves: bool) -> None:
        self.arrays: dict[str, Flat] = {}
        self._classes = classes
        self._halves = halves

    def node(self, value: Any, path: str) -> Any:
        kind = type(value)
        if kind in _PLAIN or (kind is int and value in _INTEGERS) or (kind is float and math.isfinite(value)):
            return value
        if kind in (list, tuple):
            return [kind.__name__, [self.node(item, f"{path}[{index}]") for index, item in enumerate(value)]]
        if kind is dict and all(type(name) is str for name in value):
            return ["dict", self._parts(value, path)]
        if self._classes.get(_name(kind)) is kind:
            return ["record", _name(kind), self._parts(parts_of(value), path)]
        return self._leaf(value, path)

    def _parts(self, parts: dict[str, Any], path: str) -> dict[str, Any]:
        return {name: self.node(item, f"{path}.{name}" if path else name) for name, item in parts.items()}

    def _leaf(self, value: Any, path: str) -> list[Any]:
        try:
            kind, flat = _flattened(value)
        except TypeError as error:
            raise TypeError(f"{path or 'the value'}: {error}") from None
        name = path or "value"
        while name in self.arrays or name == "__metadata__":
            name += "'"
        narrow = self._halves and kind in ("numpy", "torch") and flat.dtype in ("F32", "F64")
        self.arrays[name] = _halved(flat, name) if narrow else flat
        return [kind, name, flat.dtype] if narrow else [kind, name]


def _flattened(value: Any) -> tuple[str, Flat]:
    if type(value) in (np.ndarray, np.memmap):
        return "numpy", from_numpy(value)
    if is_torch(value):
        return "torch", from_torch(value)
    if type(value) is bytes:
        return "bytes", Flat("U8", (len(value),), value)
    if type(value) is float:
        return "float", from_numpy(np.array(value))
    if isinstance(value, np.generic):
        return "scalar", from_numpy(np.asarray(value))
    kind = type(value)
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        raise TypeError(
            f"{with_article(kind.__name__)} can be kept where the function's return type, or returns=, names that class"
        )
    raise TypeError(
        f"{with_article(kind.__name__)} cannot be kept; arrays, bytes, numbers, and lists, tuples, dicts of them can"
    )


def _halved(flat: Flat, name: str) -> Flat:
    wide = to_numpy(flat)
    with np.errstate(over="ignore"):
        half = wide.astype("<f2")
    if not np.array_equal(np.isfinite(half), np.isfinite(wide)):
        raise TypeError(f"{name} holds numbers beyond 65504, the largest in float16")
    return Flat("F16", flat.shape, half)


def _record(cls: Any, parts: dict[str, Any]) -> Any:
    """Make an instance as it was: neither ``__init__`` nor ``__post_init__`` runs again on what they have made."""
    if issubclass(cls, tuple):
        return cls(**parts)
    if parts.keys() != {field.name for field in fields(cls)}:
        raise ValueError(f"{cls.__name__} has other fields by now")
    made: Any = object.__new__(cls)
    for name, part in parts.items():
        object.__setattr__(made, name, part)
    return made


def _is_record(cls: Any) -> bool:
    return isinstance(cls, type) and (is_dataclass(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields")))


def _name(cls: Any) -> str:
    return getattr(cls, "__qualname__", "")


def _records(annotation: Any) -> set[type]:
    """Return the dataclasses and named tuples that an annotation names, and those in their fields."""
    found: set[type] = set()
    waiting = [annotation]
    while waiting:
        each = waiting.pop()
        waiting += typing.get_args(each)
        if _is_record(each) and each not in found:
            found.add(each)
            waiting += hints_of(each).values()
    return found


def hints_of(annotated: type | Callable[..., Any]) -> dict[str, Any]:
    """Return the resolved annotations, or none where a name in them is known only to a type checker."""
    try:
        return typing.get_type_hints(annotated)
    except (NameError, TypeError):
        return {}
