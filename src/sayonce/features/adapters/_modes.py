"""What torch computes with besides the arguments: autocast, which belongs to a thread, and the precision of floats."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NamedTuple

_DEVICES: Final = ("cpu", "cuda", "mps", "xpu")
_PRECISIONS: Final = (
    "cuda.matmul.fp32_precision", "cudnn.conv.fp32_precision", "cudnn.rnn.fp32_precision",
    "mkldnn.matmul.fp32_precision", "mkldnn.conv.fp32_precision", "mkldnn.rnn.fp32_precision",
    "cuda.matmul.allow_fp16_reduced_precision_reduction", "cuda.matmul.allow_bf16_reduced_precision_reduction",
)  # fmt: skip
_OLD_PRECISIONS: Final = ("cuda.matmul.allow_tf32", "cudnn.allow_tf32")
"""Before torch 2.9, which has no ``fp32_precision``."""


class Modes(NamedTuple):
    """Torch's modes in the thread that calls an engine."""

    autocast: tuple[tuple[str, Any], ...] = ()
    """The devices that it is on for, and the type of each."""
    precision: tuple[Any, ...] = ()

    @classmethod
    def now(cls) -> Modes:
        """Return the modes of this thread; none without torch."""
        torch = sys.modules.get("torch")
        if torch is None:
            return cls()
        casts = ((device, _autocast(torch, device)) for device in _DEVICES)
        return cls(tuple((device, dtype) for device, dtype in casts if dtype is not None), tuple(_precisions(torch)))

    def document(self) -> list[Any]:
        """Return what is part of a key."""
        return [[[device, str(dtype)] for device, dtype in self.autocast], [str(each) for each in self.precision]]

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


def _precisions(torch: Any) -> Iterator[Any]:
    yield torch.get_default_dtype()
    yield from (_flag(torch.backends, path) for path in _PRECISIONS)
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        yield from (_flag(torch.backends, path) for path in _OLD_PRECISIONS)


def _flag(holder: Any, path: str) -> Any:
    for name in path.split("."):
        holder = getattr(holder, name, None)
    return holder
