"""The identity of a call: a document of its arguments, in which equal calls, and only they, are equal.

Every value is written with its type, so that ``1``, ``1.0`` and ``True``, a list and a tuple, an array and its list
differ. Arrays are identified by type, shape and all their elements; byte order and memory layout do not matter.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from enum import Enum
from hashlib import blake2b
from typing import Any, Final

import numpy as np

from sayonce.audio.voice import Voice, read_bytes
from sayonce.core.key import canonical
from sayonce.errors import InvalidRequest, Unkeyable, with_article
from sayonce.features.arrays import Flat, from_numpy, from_torch, is_torch
from sayonce.features.spec import parts_of

log = logging.getLogger("sayonce.features")

_LIKE_A_FILE: Final = re.compile(r"(?=[^\n\0]{1,1024}\Z)(?s:(?=.*[/\\])|.*\.\w{1,6}\Z)").match
"""Only such texts are looked for on the disk: those with a separator or an ending, and never long ones."""
_PLAIN: Final = frozenset((str, bytes, bool, int, float, type(None)))


class Arguments:
    """Writes the arguments of one function as a document.

    Args:
        function: its signature names the arguments and their defaults.
        content: parameters that are paths or bytes, and identified by the file's bytes.
        audio: parameters that are paths or bytes of audio, and identified by the decoded samples.
        ignore: parameters that do not change the result.

    Raises:
        Unkeyable: a declared parameter does not exist, or the function is a method and ``self`` is not ignored.

    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        content: Iterable[str] = (),
        audio: Iterable[str] = (),
        ignore: Iterable[str] = (),
    ) -> None:
        self._name = getattr(function, "__qualname__", type(function).__name__)
        self._signature = _signature(function, self._name)
        self._told: set[str] = set()
        """Parameters that were given the name of a file, as the log has it."""
        self._readers = dict.fromkeys(content, _content) | dict.fromkeys(audio, _voice)
        self._ignored = frozenset(ignore)
        known = self._signature.parameters
        simple = all(each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for each in known.values())
        self._defaults = {name: each.default for name, each in known.items()} if simple else {}
        self._required = sum(each.default is inspect.Parameter.empty for each in known.values()) if simple else 1
        for name in (*self._readers, *self._ignored):
            if name not in known:
                raise Unkeyable(f"{self._name} has no parameter {name!r}", param=name)
        if "self" in known and "self" not in self._ignored:
            raise Unkeyable(
                f"{self._name} is a method: what of self changes its result is not known; put that into the revision "
                "or into an argument, and declare ignore=('self',)",
                param="self",
            )

    @property
    def read_files(self) -> bool:
        """Whether identifying a call reads files."""
        return bool(self._readers)

    def document(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by name, defaults filled in, each in its canonical form.

        Raises:
            Unkeyable: naming the argument, where in it, and what to do.
            TypeError: the call does not fit the signature.

        """
        bound = self._bound(args, kwargs)
        return {name: self._argument(name, value) for name, value in bound.items() if name not in self._ignored}

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by name; ``Signature.bind`` is slow, and most calls need nothing of it."""
        if not kwargs and self._required <= len(args) <= len(self._defaults):
            return self._defaults | dict(zip(self._defaults, args, strict=False))
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def check(self, document: Mapping[str, Any]) -> Unkeyable:
        """Return the error that names the argument of which the canonical form cannot be digested."""
        for name, value in document.items():
            try:
                canonical(value)
            except Unkeyable as error:
                return self._unkeyable(name, error)
        raise AssertionError("every argument can be digested")

    def _argument(self, name: str, value: Any) -> Any:
        reader = self._readers.get(name)
        try:
            if reader is not None:
                return _read(reader, value)
            if type(value) is str and _LIKE_A_FILE(value) is not None:
                self._check_text(name, value)
            return canonical_value(value, name)
        except Unkeyable as error:
            raise self._unkeyable(name, error) from None
        except RecursionError:
            raise self._unkeyable(name, Unkeyable("it is nested too deeply")) from None

    def _check_text(self, name: str, value: str) -> None:
        """Refuse the path of a file as a text, as what is in the file may change; a bare name may still be a text."""
        if not os.path.isfile(value):  # noqa: PTH113 (a Path costs more, and refuses some texts)
            return
        if os.path.isabs(value):  # noqa: PTH117
            raise _path_refused(name)
        if name not in self._told:
            self._told.add(name)
            log.warning("%s(): %s", self._name, _path_refused(name).message)

    def _unkeyable(self, name: str, error: Unkeyable) -> Unkeyable:
        return Unkeyable(f"{self._name}(), argument {name!r}: {error.message}", param=name)


def _signature(function: Callable[..., Any], name: str) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        raise Unkeyable(
            f"{name} says nothing of its parameters; remember a plain function (def) that calls it, and put "
            "@classmethod and @staticmethod above @cache.remember"
        ) from None


def canonical_value(value: Any, path: str) -> Any:
    """Return a value with its type; ``path`` says where it is.

    Raises:
        Unkeyable: it has no exact identity.

    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind in (list, tuple):
        return [kind.__name__, [canonical_value(item, f"{path}[{index}]") for index, item in enumerate(value)]]
    if kind is dict:
        return ["dict", _parts(value, path)]
    if kind is Voice:
        return ["voice", value.id]
    return _canonical_array(value, path) or _canonical_object(value, path)


def _parts(parts: Mapping[Any, Any], path: str) -> dict[Any, Any]:
    return {name: canonical_value(item, f"{path}.{name}") for name, item in parts.items()}


def _canonical_array(value: Any, path: str) -> list[Any] | None:
    try:
        if type(value) in (np.ndarray, np.memmap):
            return ["ndarray", *_digested(from_numpy(value))]
        if isinstance(value, np.generic):
            return ["scalar", *_digested(from_numpy(np.asarray(value)))]
        return ["torch", *_digested(from_torch(value))] if is_torch(value) else None
    except TypeError as error:
        raise Unkeyable(f"{path}: {error}") from None


def _digested(flat: Flat) -> list[Any]:
    return [flat.dtype, list(flat.shape), blake2b(flat.data, digest_size=32).digest()]


def _canonical_object(value: Any, path: str) -> list[Any]:
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, Enum):
        return ["enum", name, value.name]
    if is_dataclass(kind) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return ["record", name, _parts(parts_of(value), path)]
    if isinstance(value, os.PathLike):
        raise _path_refused(path)
    raise Unkeyable(
        f"{path} is {with_article(kind.__name__)}, which has no exact identity; pass bytes, strings, numbers, arrays, or lists, "
        f"tuples, dicts, dataclasses of them, or declare ignore=({path!r},) if it does not change the result"
    )


def _path_refused(path: str) -> Unkeyable:
    return Unkeyable(
        f"{path} is a path, and what is in the file may change; declare content=({path!r},) to identify it by the "
        f"file's bytes, or audio=({path!r},) by its decoded samples"
    )


def _read(reader: Callable[[Any], list[Any]], value: Any) -> Any:
    """Return the identity of the file, the files or the None that a parameter holds."""
    if value is None:
        return None
    if type(value) in (list, tuple):
        return [type(value).__name__, [_read(reader, each) for each in value]]
    return reader(value)


def _content(value: Any) -> list[Any]:
    try:
        data = read_bytes(value)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{value}: {getattr(error, 'strerror', None) or error}") from error
    except TypeError:
        raise Unkeyable(
            f"a path, bytes or a file opened with 'rb' is needed, and it is {with_article(type(value).__name__)}"
        ) from None
    return ["content", blake2b(data, digest_size=32).digest()]


def _voice(value: Any) -> list[Any]:
    if not isinstance(value, Voice | str | os.PathLike | bytes | bytearray | memoryview) and not hasattr(value, "read"):
        raise Unkeyable(
            f"a path, bytes or a Voice is needed, or a file object, and it is {with_article(type(value).__name__)}"
        )
    voice = value if isinstance(value, Voice) else Voice.from_audio(value)
    return ["voice", voice.id]
