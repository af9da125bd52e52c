"""Two ways to lay arrays out in bytes: the safetensors format, and a compact one for a single small array.

safetensors (https://github.com/huggingface/safetensors, *Format*): the length of a JSON header, the header with each
array's type, shape and offsets, the arrays. It is read here without a copy, which the library does not offer.

compact: the length of a MessagePack header, the header (``Compact``), the array. A speaker embedding of 256 float32
comes to 0.99 kB in all with its envelope, where safetensors would make it 1.2: a value of Redis of more than 1,020
bytes occupies a block of 1,280. Floats are made smaller without loss: of each element the last byte, which holds most
of the exponent, is Huffman-coded, as exponents are alike; then come all first bytes, all second ones, and so on, which are noise.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sayonce.features.arrays import ITEM_BYTES, Flat

COMPACT_MAX_BYTES: Final = 16_384
"""Above it the JSON header is no matter, and squeezing costs more time than it saves."""
_LENGTH: Final = struct.Struct("<Q")
_METADATA: Final = "__metadata__"
_FLOATS: Final = frozenset(("F16", "F32", "F64", "BF16"))


def pack(arrays: Mapping[str, Flat], note: str) -> bytes:
    """Lay out named arrays as safetensors, with a note among the metadata; wider types first, so that all are aligned."""
    ordered = sorted(arrays.items(), key=lambda item: -item[1].item_bytes)
    header: dict[str, Any] = {_METADATA: {"sayonce": note}}
    end = 0
    for name, flat in ordered:
        start, end = end, end + flat.nbytes
        header[name] = {"dtype": flat.dtype, "shape": flat.shape, "data_offsets": (start, end)}
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % _LENGTH.size)
    return b"".join((_LENGTH.pack(len(text)), text, *(flat.data for _, flat in ordered)))


class _ArrayHeader(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


_decode_header = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_note = msgspec.json.Decoder(dict[str, str]).decode
_decode_array_header = msgspec.json.Decoder(_ArrayHeader).decode


def unpack(body: bytes) -> tuple[dict[str, Flat], str]:
    """Return the arrays, each a view of ``body``, and the note.

    Raises:
        ValueError, KeyError, struct.error: it is not what ``pack`` makes.

    """
    view = memoryview(body)
    start = _LENGTH.size + _LENGTH.unpack_from(body)[0]
    header = _decode_header(view[_LENGTH.size : start])
    note = _decode_note(header.pop(_METADATA))["sayonce"]
    headers = {name: _decode_array_header(raw) for name, raw in header.items()}
    data = view[start:]
    return {name: Flat(h.dtype, h.shape, data[slice(*h.data_offsets)]) for name, h in headers.items()}, note


class Compact(msgspec.Struct, array_like=True, frozen=True):
    """The header of a single array: what it was, its type and shape, and the bytes of its coded exponents, if any."""

    kind: str
    dtype: str
    shape: tuple[int, ...]
    exponent_bytes: int = 0


_decode_compact = msgspec.msgpack.Decoder(Compact).decode


def pack_one(flat: Flat, kind: str) -> bytes:
    """Lay out a single array, squeezed if that makes it smaller."""
    data = bytes(memoryview(flat.data))
    size = flat.item_bytes
    exponents = _code(data[size - 1 :: size]) if flat.dtype in _FLOATS else b""
    squeezed = 0 < len(exponents) < len(data) // size
    header = msgspec.msgpack.encode(Compact(kind, flat.dtype, flat.shape, len(exponents) if squeezed else 0))
    planes = [exponents, *(data[offset::size] for offset in range(size - 1))] if squeezed else [data]
    return b"".join((bytes((len(header),)), header, *planes))


def unpack_one(body: bytes) -> tuple[Flat, str]:
    """Return the array and what it was.

    Raises:
        ValueError, IndexError, zlib.error: it is not what ``pack_one`` makes.

    """
    start = 1 + body[0]
    header = _decode_compact(body[1:start])
    data = body[start:]  # a copy, as the array has to be aligned
    whole = _restored(data, header) if header.exponent_bytes else data
    return Flat(header.dtype, header.shape, whole), header.kind


def _code(exponents: bytes) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_HUFFMAN_ONLY)
    return coder.compress(exponents) + coder.flush()


def _restored(data: bytes, header: Compact) -> memoryview:
    """Put the planes of bytes together again; a plane of the wrong length is a ValueError."""
    count, size, end = math.prod(header.shape), ITEM_BYTES[header.dtype], header.exponent_bytes
    if len(data) - end != count * (size - 1):
        raise ValueError("the bytes do not fit the shape")
    whole = bytearray(count * size)
    whole[size - 1 :: size] = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[:end], count + 1)
    for offset in range(size - 1):
        start, end = end, end + count
        whole[offset::size] = data[start:end]
    return memoryview(whole).toreadonly()
