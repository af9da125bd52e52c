"""The state of an engine at a call, cheaply looked at: its code, weights and settings."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np

from sayonce.core.key import canonical
from sayonce.features.adapters._fingerprint import kind_of, precision_of, weights_of
from sayonce.features.arrays import is_torch

log = logging.getLogger("sayonce.features")

Look = Callable[[], tuple[Mapping[str, Any], Mapping[str, Any]]]
"""Returns what computes the features, by name (torch modules, tensors, arrays, ``Path``), and their settings."""
_SAMPLES: Final = 64


class State:
    """The state that the features of one engine depend on, besides the call's arguments.

    The digest of the weights costs about a second per gigabyte. It is taken when the engine is wrapped, and again only
    when the weights have another snapshot: other tensors, other addresses in memory, other versions, device or precision.

    Args:
        name: the engine's, for keys and the log.
        engine: its class says which code it is; None where ``given`` does.
        look: says what to look at.
        given: stands for the weights that the engine has now, but not for their precision.

    Raises:
        Unkeyable: the weights cannot be read, and no revision is given.

    """

    def __init__(self, name: str, engine: Any, look: Look, given: str | None) -> None:
        self.name = name
        self._look = look
        self._kind = [None if engine is None else kind_of(engine), given]
        self._lock = threading.Lock()
        self._told = False
        weights, _ = look()
        self._snapshot = _snapshot(weights)
        digest = weights_of if given is None else precision_of
        self._digests: dict[str, Any] = {part: digest(part, value) for part, value in weights.items()}

    def now(self) -> bytes:
        """Return the identity of the engine as it is.

        Raises:
            Unkeyable: its weights have changed and cannot be read.

        """
        weights, settings = self._look()
        training = {part: _training(value) for part, value in weights.items() if hasattr(value, "_modules")}
        document = [self._kind, self._known(weights), dict(settings), training]
        return blake2b(canonical(document), digest_size=32).digest()

    def _known(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        snapshot = _snapshot(weights)
        with self._lock:
            if snapshot != self._snapshot:
                self._digests = {part: weights_of(part, value) for part, value in weights.items()}
                self._snapshot = snapshot
            return self._digests

    def tell(self, error: Exception) -> None:
        """Say once in the log that this engine computes anew where a call has no identity."""
        if not self._told:
            self._told = True
            log.warning("%s: computed each time, and not remembered: %s", self.name, error)


def _snapshot(weights: Mapping[str, Any]) -> list[Any]:
    """Return a snapshot that differs as soon as weights have changed, without reading all of them."""
    tensors: list[Any] = []
    snapshot: list[Any] = []
    for name, part in weights.items():
        if is_torch(part) or hasattr(part, "state_dict"):
            tensors += [part] if is_torch(part) else _tensors(part)
            snapshot.append((name, len(tensors)))
        elif isinstance(part, np.ndarray):
            snapshot.append((name, part.shape, part.dtype.str, blake2b(part.tobytes()).digest()))
        else:
            snapshot.append((name, str(part) if isinstance(part, Path) else id(part)))
    real = [tensor for tensor in tensors if is_torch(tensor)]
    return [*snapshot, *(_snapshot_of(tensor) for tensor in tensors), _sample(real)]


def _snapshot_of(tensor: Any) -> tuple[Any, ...]:
    if not is_torch(tensor):
        return (id(tensor),)
    version = None if tensor.is_inference() else tensor._version  # noqa: SLF001 (torch's count of changes in place)
    return id(tensor), tensor.data_ptr(), version, tensor.device, tensor.dtype, tensor.shape


def _sample(tensors: list[Any]) -> list[str]:
    """Return one number of some tensors: torch does not count what is changed through ``tensor.data``."""
    some = [tensor for tensor in tensors if tensor.numel() and not tensor.is_meta]
    return [repr(tensor[(0,) * tensor.ndim].item()) for tensor in some[:: len(some) // _SAMPLES + 1]]


def _modules(module: Any) -> Iterator[Any]:
    waiting = [module]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += [part for part in each._modules.values() if part is not None]  # noqa: SLF001 (five times as fast)


def _tensors(part: Any) -> list[Any]:
    """Return the tensors of ``state_dict``, in less time where it is a torch module."""
    if not hasattr(part, "_modules"):
        return list(part.state_dict().values())
    found: list[Any] = []
    for module in _modules(part):
        passing = module._non_persistent_buffers_set  # noqa: SLF001 (what can be computed again)
        found += module._parameters.values()  # noqa: SLF001
        found += [each for name, each in module._buffers.items() if name not in passing]  # noqa: SLF001
    return [each for each in found if each is not None]


def _training(module: Any) -> bool | bytes:
    """Return whether all modules are in training mode, or which are."""
    flags = bytes(each.training for each in _modules(module))
    return bool(flags[0]) if len(set(flags)) == 1 else blake2b(flags, digest_size=32).digest()
