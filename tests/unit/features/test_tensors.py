"""Tensors come back bit for bit, as what they were, and nobody can change them for another."""

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sayonce.core.envelope import Entry, Refused
from sayonce.core.outcome import Refusal
from sayonce.features.tensors import COMPACT, SAFETENSORS, Codec

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]


def entry_of(made, **changes):
    fields = {"key": b"k" * 32, "body": made.body, "media_type": made.media_type, "created": 0.0, "expires": 1.0}
    return Entry(**(fields | changes))


def round_trip(value, **options):
    codec = Codec(**options)
    return codec.decode(entry_of(codec.encode(value)))


def same_bits(one, other):
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@given(
    hnp.arrays(
        st.sampled_from([np.dtype(name) for name in DTYPES]), hnp.array_shapes(min_dims=0, min_side=0, max_side=9)
    )
)
def test_every_array_comes_back_bit_for_bit(array):
    assert same_bits(round_trip(array), array)
    assert same_bits(round_trip([array])[0], array)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nan_payloads_and_negative_zeros_survive(dtype):
    size = np.dtype(dtype).itemsize
    bits = np.random.default_rng(1).integers(0, 256, (500, size), np.uint8)
    bits[:250, -1] |= 0x7F
    bits[:250, -2] |= 0xF0
    bits[0] = 0
    bits[0, -1] = 0x80
    array = bits.view(dtype)[:, 0]
    assert np.isnan(array).sum() > 100
    assert same_bits(round_trip(array), array)


def test_large_arrays_are_a_safetensors_file_that_others_read():
    value = {
        "style": np.arange(192, dtype="f4").reshape(1, 192),
        "flag": np.array(True),
        "spk": np.ones((3, 5000), "f2"),
    }
    made = Codec().encode(value)
    assert made.media_type == SAFETENSORS
    read = safetensors.numpy.load(made.body)
    assert all(same_bits(read[name], array) for name, array in value.items())


def test_a_256_float_embedding_fits_a_kilobyte_block_of_redis():
    from sayonce.core.envelope import Sealer
    from sayonce.core.key import Secret

    for seed in range(50):
        vector = np.random.default_rng(seed).standard_normal(256).astype("f4")
        made = Codec().encode(vector / np.linalg.norm(vector))
        assert made.media_type == COMPACT
        entry = entry_of(made, created=1_764_000_000.5, expires=1_764_600_000.5, compute_seconds=0.041)
        assert len(Sealer(Secret()).seal(entry)) <= 1_020


def test_an_array_that_does_not_compress_is_kept_uncompressed():
    array = np.random.default_rng(0).integers(0, 2**32, 256, np.uint32).view("f4")
    made = Codec().encode(array)
    assert len(made.body) < array.nbytes + 20
    assert same_bits(round_trip(array), array)


@pytest.mark.parametrize(
    "array", [np.arange(24.0).reshape(4, 6)[:, ::2], np.arange(12.0).reshape(3, 4).T, np.arange(5, dtype=">f4")]
)
def test_an_array_comes_back_equal_whatever_its_layout_and_byte_order(array):
    back = round_trip(array)
    assert back.shape == array.shape
    assert (back == array).all()
    assert back.dtype == array.dtype.newbyteorder("<")


class Pair(NamedTuple):
    left: np.ndarray
    right: int


@dataclass(frozen=True, slots=True)
class Speaker:
    style: np.ndarray
    pair: Pair
    name: str = "x"
    derived: int = field(init=False, default=3)


@dataclass
class Other:
    x: int


def test_nested_values_come_back_as_what_they_were():
    value = {
        "a": [1, 2.5, None, True, "é", b"\0raw", -0.0, 2**63 - 1],
        "b": (np.float32(1.5), np.int64(7), {"deep": [np.zeros((2, 0, 3))]}),
        "nan": float("nan"),
        "inf": float("-inf"),
        "empty": ([], (), {}),
        "": np.arange(3),
        "__metadata__": np.arange(2),
    }
    back = round_trip(value)
    assert back["a"] == value["a"]
    assert [type(item) for item in back["a"]] == [type(item) for item in value["a"]]
    assert str(back["a"][6]) == "-0.0"
    assert [type(item) for item in back["b"]] == [np.float32, np.int64, dict]
    assert same_bits(back["b"][2]["deep"][0], np.zeros((2, 0, 3)))
    assert back["nan"] != back["nan"]
    assert (back["inf"], back["empty"]) == (float("-inf"), ([], (), {}))
    assert same_bits(back[""], np.arange(3))
    assert same_bits(back["__metadata__"], np.arange(2))


def test_fields_whose_paths_look_alike_are_told_apart():
    value = {"a.b": np.array(1), "a": {"b": np.array(2)}, "a[0]": np.array(3), "c": [np.array(4)]}
    back = round_trip(value)
    assert (back["a.b"], back["a"]["b"], back["a[0]"], back["c"][0]) == (1, 2, 3, 4)


def test_dataclasses_and_named_tuples_come_back_as_their_class():
    value = Speaker(np.arange(4.0), Pair(np.ones(2), 7), "anna")
    back = round_trip(value, returns=Speaker | None)
    assert type(back) is Speaker
    assert type(back.pair) is Pair
    assert (back.name, back.derived, back.pair.right) == ("anna", 3, 7)
    assert same_bits(back.style, value.style)


def test_a_class_that_is_not_declared_is_refused_and_not_turned_into_another_type():
    with pytest.raises(TypeError, match=r"who: an Other can be kept where the function's return type"):
        Codec(returns=Speaker).encode({"who": Other(1)})


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (np.array([object()]), "arrays of object"),
        ({"x": [1, {2}]}, r"x\[1\]: a set"),
        ({"x": 2**70}, "x: an int"),
        ({1: 2}, "a dict"),
        (np.ma.array([1]), "a MaskedArray"),
        (np.array(["a"]), "arrays of str"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused_by_name(value, what):
    with pytest.raises(TypeError, match=what):
        Codec().encode(value)


@pytest.mark.parametrize("value", [np.arange(3.0), {"x": np.arange(5000)}])
def test_arrays_come_back_read_only_or_as_the_callers_own(value):
    codec, own = Codec(), Codec(copy=True)
    entry = entry_of(codec.encode(value))
    shared = codec.decode(entry)
    shared = shared["x"] if isinstance(value, dict) else shared
    with pytest.raises(ValueError, match="read-only"):
        shared[0] = 9
    mine = own.decode(entry)
    mine = mine["x"] if isinstance(value, dict) else mine
    mine[0] = 9
    again = own.decode(entry)
    assert (again["x"] if isinstance(value, dict) else again)[0] == 0


def test_a_large_array_is_read_without_a_copy():
    codec = Codec()
    entry = entry_of(codec.encode(np.arange(100_000.0)))
    assert np.shares_memory(codec.decode(entry), np.frombuffer(entry.body, np.uint8))
    assert codec.decode(entry).flags.aligned


SPEC = {"style": ("float32", (1, 192)), "spk": (np.float32, (1, None, 8))}


def bundle(**changes):
    return {"style": np.zeros((1, 192), "f4"), "spk": np.zeros((1, 30, 8), "f4")} | changes


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"style": np.zeros((1, 192))}, "style is of float64, where float32 is declared"),
        ({"spk": np.zeros((1, 30, 9), "f4")}, r"spk has the shape \(1, 30, 9\)"),
        ({"spk": "text"}, "spk is a str"),
        ({"more": np.zeros(1)}, "'more'"),
    ],
)
def test_a_value_that_is_not_what_was_declared_is_neither_stored_nor_read(changes, what):
    codec = Codec(spec=SPEC)
    codec.decode(entry_of(codec.encode(bundle())))
    with pytest.raises(TypeError, match=what):
        codec.encode(bundle(**changes))
    with pytest.raises(Refused) as refused:
        codec.decode(entry_of(Codec().encode(bundle(**changes))))
    assert refused.value.reason is Refusal.CONTENT


def test_declared_shapes_and_types_hold_for_lists_and_dataclasses_too():
    assert round_trip([np.zeros(3)], spec=[("float64", (3,))])[0].shape == (3,)
    codec = Codec(returns=Speaker, spec={"style": ("float64", (4,)), "pair": {"left": ("float32", (2,))}})
    with pytest.raises(TypeError, match=r"pair\.left is of float64"):
        codec.encode(Speaker(np.zeros(4), Pair(np.zeros(2), 1)))
    codec.encode(Speaker(np.zeros(4), Pair(np.zeros(2, "f4"), 1)))


@pytest.mark.parametrize(
    "value", [np.random.default_rng(0).standard_normal(64).astype("f4"), {"x": np.arange(9000), "y": [b"z"]}]
)
def test_foreign_and_damaged_values_are_refused_whatever_is_wrong_with_them(value):
    """The seal keeps damage out; should something else be sealed, it is refused and nothing else happens."""
    codec = Codec()
    made = codec.encode(value)
    rng = np.random.default_rng(0)
    bodies = [b"", b"\xff", b"\x80\x04\x95pickle", made.body[:-1], made.body[:20], struct.pack("<Q", 2**60) + made.body]
    for place in rng.integers(0, min(len(made.body), 300), 300):
        body = bytearray(made.body)
        body[place] ^= 1 << int(rng.integers(8))
        bodies.append(bytes(body))
    refused = 0
    for body in bodies:
        try:
            codec.decode(entry_of(made, body=body))
        except Refused:
            refused += 1
    assert refused >= 6
    with pytest.raises(Refused):
        codec.decode(entry_of(made, media_type="audio/flac"))


def test_float16_storage_halves_the_space_and_keeps_the_type():
    array = np.random.default_rng(0).standard_normal(100_000).astype("f4")
    codec = Codec(storage="float16")
    made = codec.encode({"x": array})
    assert len(made.body) < array.nbytes * 0.51
    back = codec.decode(entry_of(made))["x"]
    assert back.dtype == np.float32
    assert (back == array.astype("f2").astype("f4")).all()
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1
    with pytest.raises(TypeError, match="x holds numbers beyond 65504"):
        codec.encode({"x": np.array([1e6])})


class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    @pytest.mark.parametrize(
        "dtype", ["float16", "float32", "float64", "bfloat16", "int64", "int32", "uint8", "bool", "complex64"]
    )
    @pytest.mark.parametrize("shape", [(), (0, 3), (2, 3), (70, 300)])
    def test_tensors_come_back_bit_for_bit(self, torch, dtype, shape):
        tensor = (torch.arange(float(np.prod(shape))).reshape(shape) - 2.5).to(getattr(torch, dtype))
        for back in (round_trip(tensor), round_trip((tensor,))[0]):
            assert (back.dtype, back.shape, back.device.type) == (tensor.dtype, tensor.shape, "cpu")
            assert torch.equal(back, tensor)

    def test_no_autograd_graph_is_kept(self, torch):
        layer = torch.nn.Linear(4, 4)
        back = round_trip({"out": layer(torch.ones(1, 4)), "weight": layer.weight.T})
        assert not back["out"].requires_grad
        assert back["out"].grad_fn is None
        assert back["out"].is_contiguous()
        assert torch.equal(back["weight"], layer.weight.T)

    def test_a_tensor_is_the_callers_own(self, torch):
        codec = Codec()
        entry = entry_of(codec.encode(torch.zeros(5000)))
        codec.decode(entry).fill_(1)
        assert not codec.decode(entry).any()

    def test_tensors_come_back_on_the_device_that_was_asked_for(self, torch):
        assert round_trip(torch.ones(3), device="meta").device.type == "meta"

    def test_sparse_tensors_are_refused(self, torch):
        with pytest.raises(TypeError, match="dense"):
            Codec().encode(torch.eye(3).to_sparse())
