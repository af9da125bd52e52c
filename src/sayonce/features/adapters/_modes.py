"""Modes of torch that change its numbers: autocast, which belongs to a thread, and the precision of floats."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NamedTuple

_DEVICES: Final = ("cpu", "cuda", "mps", "xpu")
_USUAL: Final = {
    "fp32_precision": "none",
    "cuda.matmul.fp32_precision": "none",
    "cudnn.conv.fp32_precision": "tf32",
    "cudnn.rnn.fp32_precision": "tf32",
    "mkldnn.matmul.fp32_precision": "none",
    "mkldnn.conv.fp32_precision": "none",
    "mkldnn.rnn.fp32_precision": "none",
    "cuda.matmul.allow_fp16_reduced_precision_reduction": "True",
    "cuda.matmul.allow_bf16_reduced_precision_reduction": "True",
}
"""Torch's defaults. A key has only what differs: a process that has not imported torch yet shares the rest."""
_USUAL_BEFORE: Final = {"cuda.matmul.allow_tf32": "False", "cudnn.allow_tf32": "True"}
"""The same before torch 2.9, which has no ``fp32_precision``."""


class Modes(NamedTuple):
    """Torch's modes in the thread that calls an engine."""

    autocast: tuple[tuple[str, Any], ...] = ()
    """The devices that it is on for, and the type of each."""
    precision: tuple[tuple[str, str], ...] = ()
    """The flags that are not as usual."""

    @classmethod
    def now(cls) -> Modes:
        """Return the modes of this thread; none without torch."""
        torch = sys.modules.get("torch")
        if torch is None:
            return cls()
        casts = ((device, _autocast(torch, device)) for device in _DEVICES)
        return cls(tuple((device, dtype) for device, dtype in casts if dtype is not None), tuple(_precisions(torch)))

    def document(self) -> list[Any]:
        """Return the part of a key."""
        return [[[device, str(dtype)] for device, dtype in self.autocast], [list(each) for each in self.precision]]

    @contextmanager
    def again(self) -> Iterator[None]:
        """Turn autocast on as it was, in another thread."""
        with ExitStack() as stack:
            for device, dtype in self.autocast:
                stack.enter_context(sys.modules["torch"].autocast(device, dtype=dtype))
            yield


def _autocast(torch: Any, device: str) -> Any:
    try:
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    except TypeError:  # before torch 2.4
        old = {"cuda": (torch.is_autocast_enabled, "gpu"), "cpu": (torch.is_autocast_cpu_enabled, "cpu")}
        enabled, name = old.get(device, (bool, ""))
        return getattr(torch, f"get_autocast_{name}_dtype")() if enabled() else None


def _precisions(torch: Any) -> Iterator[tuple[str, str]]:
    if torch.get_default_dtype() is not torch.float32:
        yield "default", str(torch.get_default_dtype())
    new = hasattr(torch.backends.cuda.matmul, "fp32_precision")
    for path, usual in (_USUAL if new else _USUAL | _USUAL_BEFORE).items():
        value = _flag(torch.backends, path)
        if value not in (None, usual):
            yield path, value


def _flag(holder: Any, path: str) -> str | None:
    for name in path.split("."):
        holder = getattr(holder, name, None)
    return None if holder is None else "none" if holder == "ieee" else str(holder)  # the same: no shortcut is taken
