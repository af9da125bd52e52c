"""Arrays as bytes: numpy arrays and torch tensors to a type, a shape and their bytes, and back, bit for bit.

Types have the names of the safetensors format. Neither torch nor ml_dtypes (bfloat16 in numpy) is needed; a value of
theirs needs them again when it is read.
"""

from __future__ import annotations

import importlib
import math
import sys
from typing import Any, Final, NamedTuple

import numpy as np

DTYPES: Final = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "C64": np.dtype("<c8"),
}
_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}
_WORDS: Final = {"bool": "BOOL", "uint": "U", "int": "I", "bfloat": "BF", "float": "F", "complex": "C"}
BFLOAT16: Final = "BF16"
ITEM_BYTES: Final = {name: dtype.itemsize for name, dtype in DTYPES.items()} | {BFLOAT16: 2}


class Flat(NamedTuple):
    """An array's type, shape, and its elements in C order, little-endian; ``data`` is anything with a buffer."""

    dtype: str
    shape: tuple[int, ...]
    data: Any

    @property
    def item_bytes(self) -> int:
        return ITEM_BYTES[self.dtype]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.item_bytes


def is_torch(value: Any) -> bool:
    """Whether a value is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def dtype_name(dtype: Any) -> str:
    """Return ``F32`` for ``float32``, ``"float32"``, ``numpy.dtype("float32")``, ``torch.float32``.

    Raises:
        TypeError: it is a type that cannot be kept, such as object.

    """
    word = dtype.name if isinstance(dtype, np.dtype) else getattr(dtype, "__name__", str(dtype))
    letters = word.removeprefix("torch.").rstrip("0123456789")
    name = _WORDS.get(letters, "?") + word[len(word.rstrip("0123456789")) :]
    if name not in ITEM_BYTES:
        raise TypeError(f"arrays of {word} cannot be kept; {', '.join(sorted(ITEM_BYTES))} can")
    return name


def from_numpy(array: np.ndarray[Any, Any]) -> Flat:
    """Flatten an array without a copy where it is contiguous and little-endian already.

    Raises:
        TypeError: its type cannot be kept, such as object.

    """
    little = array.dtype.newbyteorder("<")
    name = _NAMES.get(little) or dtype_name(array.dtype)
    data = np.ascontiguousarray(array, dtype=little)
    return Flat(name, array.shape, data.view(np.uint16) if name == BFLOAT16 else data)


def from_torch(tensor: Any) -> Flat:
    """Flatten a tensor on the CPU, without its autograd graph.

    Raises:
        TypeError: it is sparse, quantized or without data, or its type cannot be kept.

    """
    torch = sys.modules["torch"]
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        raise TypeError("only dense torch tensors with data can be kept")
    dense = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return Flat(dtype_name(tensor.dtype), tuple(tensor.shape), dense.reshape(-1).view(torch.uint8).numpy())


def to_numpy(flat: Flat, *, copy: bool = False) -> np.ndarray[Any, Any]:
    """Return an array over the bytes, read-only if they are, or the caller's own copy.

    Raises:
        ValueError: the bytes are too few or too many.
        ImportError: bfloat16 without ml_dtypes.

    """
    dtype = _bfloat16() if flat.dtype == BFLOAT16 else DTYPES[flat.dtype]
    array = np.frombuffer(flat.data, dtype)
    if array.shape != flat.shape:
        array = array.reshape(flat.shape)
    return array.copy() if copy else array


def to_torch(flat: Flat, device: Any = None) -> Any:
    """Return a tensor that is the caller's own, on a device (default: the CPU).

    Raises:
        ValueError: the bytes are too few or too many.
        ImportError: torch is not installed.

    """
    torch = importlib.import_module("torch")
    kind = next(kind for kind in _torch_dtypes(torch) if dtype_name(kind) == flat.dtype)
    if len(flat.data) != flat.nbytes:
        raise ValueError("the bytes do not fit the shape")
    tensor = torch.empty(flat.shape, dtype=kind)
    tensor.reshape(-1).view(torch.uint8).numpy()[:] = np.frombuffer(flat.data, np.uint8)
    return tensor if device is None else tensor.to(device)


def _torch_dtypes(torch: Any) -> list[Any]:
    names = (np.dtype(dtype).name for dtype in DTYPES.values())
    return [getattr(torch, name) for name in (*names, "bfloat16") if hasattr(torch, name)]


def _bfloat16() -> Any:
    return np.dtype(importlib.import_module("ml_dtypes").bfloat16)
