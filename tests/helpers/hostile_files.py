"""Files that are made to crash decoders, to fill the memory, or to keep a processor busy."""

import base64
import struct
import zlib

CRASHES_LIBVORBIS = base64.b64decode(
    "T2dnUwACAAAAAAAAAAAHAAAAAAAAAP8vPPYBHgF2b3JiaXMAAAAAAcBdAAAAAAAAAAAAAAAAAAC4AU9nZ1MAAAAAAAAAAAAABwAAAAEAAAAbGis0"
    "AhA1A3ZvcmJpcwAAAAAAAAAAAQV2b3JiaXMAQkNWAQAAABAnAAAEAAAACAAAGQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACAT2dnUwAEgAAAAAAA"
    "AAAHAAAAAgAAANP/tcMCAQEAAA=="
)
"""A codebook of 2²⁰ entries in order, for which libvorbis takes 8 MB of the stack."""


def busy_flac(marks):
    """Return FLAC of one frame with many marks in it, each of which may be where another file begins."""
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + ((24000 << 44) | (15 << 36)).to_bytes(8, "big") + bytes(16)
    head = b"fLaC" + bytes([0x80]) + len(info).to_bytes(3, "big") + info
    frame = bytes([0xFF, 0xF8, 0xC9, 0x08, 0])
    return head + frame + bytes([_crc8(frame)]) + b"\x01fLaC" * marks


def _crc8(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc


SOUND = bytes(4800)


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def _full(kind, *parts):
    return box(kind, bytes(4), *parts)


def _track(number, handler, entry, samples, size, offset, chunk, delta):
    table = box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), entry),
        _full(b"stts", struct.pack(">III", 1, samples, delta)),
        _full(b"stsc", struct.pack(">IIII", 1, 1, chunk, 1)),
        _full(b"stsz", struct.pack(">II", size, samples)),
        _full(b"stco", struct.pack(">II", 1, offset)),
    )
    reference = box(b"dinf", _full(b"dref", struct.pack(">I", 1), box(b"url ", bytes([0, 0, 0, 1]))))
    header = _full(b"smhd", bytes(4)) if handler == b"soun" else box(b"vmhd", bytes([0, 0, 0, 1]), bytes(8))
    media = box(
        b"mdia",
        _full(b"mdhd", struct.pack(">IIIIHH", 0, 0, 24_000, samples * delta, 0, 0)),
        _full(b"hdlr", bytes(4), handler, bytes(13)),
        box(b"minf", header, reference, table),
    )
    return box(b"trak", box(b"tkhd", bytes([0, 0, 0, 7]), struct.pack(">IIII", 0, 0, number, 0), bytes(64)), media)


def _samples_entry():
    return box(b"sowt", bytes(6), struct.pack(">H", 1), bytes(8), struct.pack(">HHHHI", 1, 16, 0, 0, 24_000 << 16))


def _picture_entry(codec, side):
    return box(
        codec, bytes(6), struct.pack(">H", 1), bytes(16), struct.pack(">HH", side, side),
        struct.pack(">II", 0x480000, 0x480000), bytes(4), struct.pack(">H", 1), bytes(32), struct.pack(">Hh", 24, -1),
    )  # fmt: skip


def _m4a(more=lambda offset: b"", behind=b"", data=b""):
    begin = box(b"ftyp", b"isom", bytes(4), b"isom")

    def movie(offset):
        header = _full(b"mvhd", struct.pack(">IIII", 0, 0, 24_000, 24_000), bytes(80))
        sound = _track(1, b"soun", _samples_entry(), len(SOUND) // 2, 2, offset, len(SOUND) // 2, 1)
        return box(b"moov", header, sound, more(offset + len(SOUND)))

    offset = len(begin) + len(movie(0)) + 8
    return begin + movie(offset) + box(b"mdat", SOUND, data) + behind


def m4a_of_claimed_packets(packets):
    """Return an M4A with a second track that claims packets which are not there."""
    return _m4a(lambda offset: _track(2, b"vide", _picture_entry(b"avc1", 64), packets, 1, offset, packets, 1))


def m4a_of_a_claimed_fragment(packets):
    """Return an M4A with a fragment that claims packets which are not there, in four bytes."""
    defaults = _full(b"trex", struct.pack(">IIIII", 1, 1, 1024, 1, 0))
    run = box(b"traf", _full(b"tfhd", struct.pack(">I", 1)), _full(b"trun", struct.pack(">I", packets)))
    return _m4a(lambda _: box(b"mvex", defaults), box(b"moof", _full(b"mfhd", bytes(4)), run))


def m4a_with_pictures(pictures, side):
    """Return an M4A whose other tracks are large pictures of one colour."""
    picture = _png(side)
    return _m4a(
        lambda offset: b"".join(
            _track(2 + each, b"vide", _picture_entry(b"png ", side), 1, len(picture), offset, 1, 1024)
            for each in range(pictures)
        ),
        data=picture,
    )


def _png(side):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, row = zlib.compressobj(1), bytes(1 + 4 * side)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
