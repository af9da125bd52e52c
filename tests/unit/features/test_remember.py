"""A remembered function computes each call once, and never answers one call with another's value."""

import asyncio
import io
import threading
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import sayonce
from sayonce.core.key import Secret, canonical
from sayonce.features.keys import Arguments
from sayonce.features.library import Cache
from sayonce.stores.memory import MemoryStore
from sayonce.testing import FakeClock, FaultyStore
from tests.helpers.voice_samples import SAMPLES, reference


@pytest.fixture
async def cache():
    async with sayonce.open("memory://") as cache:
        yield cache


class Encoder:
    """Counts what it is asked to compute, and can be held."""

    def __init__(self):
        self.calls = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, image: bytes, size: int = 4):
        self.calls.append((image, size))
        assert self.gate.wait(10)
        return np.frombuffer(image, np.uint8)[:size].astype("f4")


def remembered(cache, function=None, **options):
    encoder = function or Encoder()
    return encoder, cache.remember("encoder", **{"revision": "1", **options})(encoder)


async def test_a_value_past_its_time_to_live_is_computed_anew_also_where_clips_are_kept_longer(clock):
    async with Cache(memory=MemoryStore(clock=clock), stale=timedelta(days=7), clock=clock) as cache:
        encoder, remembering = remembered(cache, ttl=timedelta(hours=1))
        for calls in (1, 2):
            await remembering(b"abcd")
            await remembering.batch([b"abcd"])
            assert len(encoder.calls) == calls
            clock.advance(3600)
        assert not await remembering.cached(b"abcd")


async def test_the_same_call_computes_once_however_it_is_written(cache):
    encoder, encode = remembered(cache)
    values = [
        await encode(b"image"),
        await encode(image=b"image"),
        await encode(b"image", 4),
        await encode(b"image", size=4),
    ]
    assert {value.tobytes() for value in values} == {np.array([105, 109, 97, 103], "f4").tobytes()}
    assert len(encoder.calls) == 1


async def test_plain_and_async_functions_are_awaited_alike(cache):
    @cache.remember("a", revision="1")
    async def asynchronous(x: int) -> int:
        return x + 1

    @cache.remember("b", revision="1")
    def plain(x: int) -> str:
        return threading.current_thread().name

    assert await asynchronous(1) == 2
    assert await plain(1) != threading.current_thread().name


async def test_name_revision_and_namespace_are_part_of_the_key():
    store = FaultyStore()
    keys = set()
    for namespace in ("", "tenant"):
        cache = Cache(store, namespace=namespace)
        for name in ("a", "b"):
            for revision in ("1", "2"):
                keys.add(cache.remember(name, revision=revision)(Encoder()).key(b"x"))
    assert len(keys) == 8


def function_of(module):
    """A function ``encode`` as another module would define it."""
    scope = {"__name__": module}
    exec("def encode(image: bytes) -> bytes: return __name__.encode()", scope)
    return scope["encode"]


async def test_two_functions_never_answer_under_one_name(cache):
    with sayonce.open_sync("memory://") as plain:
        for each in (cache, plain):
            each.remember("encoder", revision="1")(function_of("one"))
            with pytest.raises(
                sayonce.Unkeyable, match=r"what one\.encode computes; give other\.encode a name of its own"
            ):
                each.remember("encoder", revision="1")(function_of("other"))
            each.remember("encoder", revision="1")(function_of("one"))  # its module was loaded again
            each.remember("encoder", revision="2")(function_of("other"))


async def test_a_secret_makes_keys_that_cannot_be_guessed():
    open_key = Cache().remember("a", revision="1")(Encoder()).key(b"x")
    assert Cache(secret=Secret(b"s")).remember("a", revision="1")(Encoder()).key(b"x") != open_key


def call(*args, **options):
    def function(value, other=None):
        raise NotImplementedError

    return canonical(Arguments(function, **options).document(args, {}))


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Style:
    name: str
    weights: np.ndarray


@dataclass
class Likeness:
    name: str
    weights: np.ndarray


BIG = np.arange(5_000.0)
CHANGED = BIG.copy()
CHANGED[2_500] += 1e-9
DIFFERENT = [
    1, 1.0, True, "1", b"1", None, [1], (1,), [1.0], {"a": 1}, {"a": 1, "b": None}, ["a", 1], [["a", 1]], [], (), {}, "", b"",
    0.0, -0.0, 0, False,
    BIG, CHANGED, BIG.reshape(100, 50), BIG.astype("f4"), BIG[::-1], list(BIG), BIG[:0], BIG[:0].reshape(3, 0), np.array(1.0),
    np.array([1.0]), np.array([1]), np.array([-0.0]), np.array([0.0]), np.float64(1), np.float32(1), np.int64(1), np.bool_(True),
    Colour.RED, Colour.BLUE, Style("a", BIG), Style("a", CHANGED), Likeness("a", BIG),
    ["ndarray", "F64", [1], b""], sayonce.Voice("1", 1.0, 1, 1), sayonce.Voice("2", 1.0, 1, 1), ["voice", "1"],
]  # fmt: skip


def test_different_arguments_never_share_a_key():
    """Same shape, same head and tail, same text of numpy's (str) are all different; so are values of different types."""
    assert str(BIG) == str(CHANGED)
    keys = [call(value) for value in DIFFERENT] + [call(None, value) for value in DIFFERENT[:5]]
    assert len(set(keys)) == len(keys)


@given(
    hnp.arrays(
        st.sampled_from([np.dtype(n) for n in ("?", "i4", "f2", "f8", "c8")]), hnp.array_shapes(min_side=0, max_side=4)
    )
)
def test_arrays_are_keyed_by_their_elements_and_not_by_their_layout(array):
    same = [np.asfortranarray(array), array.astype(array.dtype.newbyteorder(">")), np.repeat(array, 2, axis=0)[::2]]
    assert {call(other) for other in same} == {call(array)}
    if array.size:
        other = array.copy()
        other.reshape(-1).view("u1")[-1] ^= 1
        assert call(other) != call(array)


def test_torch_tensors_are_keyed_by_their_elements():
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6.0).reshape(2, 3)
    keys = [call(other) for other in (tensor, tensor.T, tensor.bfloat16(), tensor + 1e-6, tensor.numpy())]
    assert len(set(keys)) == len(keys)
    assert call(tensor.T) == call(tensor.T.contiguous())
    assert call(torch.nn.Parameter(tensor)) == call(tensor)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (object(), r"argument 'value': value is an object, which has no exact identity; pass .* ignore=\('value',\)"),
        ([1, {"x": {2}}], r"argument 'value': value\[1\]\.x is a set"),
        (np.array([object()]), "argument 'value': value: arrays of object"),
        (np.array(["text"]), "arrays of str"),
        (np.ma.array([1]), "MaskedArray"),
        (float("nan"), "argument 'value': .* nan"),
        (2**70, "argument 'value': .* 64 bits"),
        ("\ud800", "argument 'value': .* surrogate"),
        ({1: 2}, "argument 'value': .* field name"),
        (__import__("pathlib").Path("x.png"), r"is a path, .* content=\('value',\) .* audio=\('value',\)"),
        (lambda: 1, "a function"),
    ],
)
async def test_a_value_that_cannot_be_keyed_exactly_is_refused_by_its_arguments_name(cache, value, what):
    @cache.remember("f", revision="1")
    def function(value):
        raise AssertionError("computed")

    with pytest.raises(sayonce.Unkeyable, match=f"function.*{what}") as refused:
        await function(value)
    assert refused.value.param == "value"


def test_a_list_within_itself_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(sayonce.Unkeyable, match="nested too deeply"):
        call(endless)


def test_self_is_refused_unless_it_is_ignored(cache):
    class Model:
        def encode(self, x):
            return x

    with pytest.raises(sayonce.Unkeyable, match=r"encode is a method: .* ignore=\('self',\)"):
        cache.remember("f", revision="1")(Model.encode)
    with pytest.raises(sayonce.Unkeyable, match="no parameter 'y'"):
        cache.remember("f", revision="1", ignore=("self", "y"))(Model.encode)


async def test_methods_are_remembered_for_the_object_they_are_called_on(cache):
    class Model:
        def __init__(self, factor):
            self.factor = factor
            self.runs = 0

        @cache.remember("f", revision="1", ignore=("self",))
        def encode(self, x: int) -> int:
            self.runs += 1
            return x * self.factor

    one, other = Model(2), Model(2)
    assert (await one.encode(3), await other.encode(3)) == (6, 6)
    assert (one.runs, other.runs) == (1, 0)
    assert await one.encode.cached(3)
    assert one.encode.key(3) == other.encode.key(3)


async def test_an_argument_declared_as_content_is_keyed_by_the_files_bytes_whatever_its_name(cache, tmp_path):
    runs = []

    @cache.remember("f", revision="1", content=("path",))
    def read(path):
        runs.append(path)
        return path if isinstance(path, bytes) else path.read_bytes()

    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"same")
    other.write_bytes(b"same")
    assert await read(one) == await read(other) == await read(b"same") == b"same"
    one.write_bytes(b"diff")
    assert await read(one) == b"diff"
    assert runs == [one, one]
    with pytest.raises(sayonce.InvalidRequest, match="missing: No such file"):
        await read(tmp_path / "missing")


async def test_an_argument_declared_as_audio_is_keyed_by_its_samples_whatever_the_container(cache, tmp_path):
    runs = []

    @cache.remember("f", revision="1", audio=("reference",))
    def embed(reference):
        runs.append(reference)
        return np.ones(3, "f4")

    wav = tmp_path / "a.wav"
    wav.write_bytes(reference())
    for same in (wav, str(wav), reference(), reference(container="FLAC"), sayonce.Voice.from_audio(reference())):
        await embed(same)
    assert len(runs) == 1
    await embed(reference(-SAMPLES))
    assert len(runs) == 2
    with pytest.raises(sayonce.Unkeyable, match="argument 'reference': a path, bytes or a Voice"):
        await embed(7)


async def test_a_file_that_changes_while_it_is_read_is_not_kept(cache, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(b"before")

    @cache.remember("f", revision="1", content=("path",))
    def read(path):
        path.write_bytes(b"after")
        return path.read_bytes()

    before = read.key(path)
    assert await read(path) == b"after"
    await cache.settle()
    assert await cache.find(before) is None


async def test_fifty_tasks_that_ask_for_a_cold_value_compute_it_once(cache):
    encoder, encode = remembered(cache)
    values = await asyncio.gather(*(encode(b"image") for _ in range(50)))
    assert len(encoder.calls) == 1
    assert len({value.tobytes() for value in values}) == 1


async def test_no_caller_can_change_a_remembered_value_for_others(cache):
    _, encode = remembered(cache)
    own = cache.remember("own", revision="1", copy=True)(Encoder())
    first = await encode(b"image")
    with pytest.raises(ValueError, match="read-only"):
        first += 1
    mine = await own(b"image")
    mine += 1
    assert (await own(b"image"))[0] == 105


async def test_a_function_that_changes_its_result_later_does_not_change_the_remembered_value(cache):
    buffer = np.zeros(3)

    @cache.remember("f", revision="1")
    def reuse(x: int):
        buffer[:] = x
        return buffer

    first = await reuse(1)
    await reuse(2)
    assert first[0] == (await reuse(1))[0] == 1


async def test_errors_of_a_remembered_function_arrive_as_they_were_raised_and_are_not_kept(cache):
    answers = [ValueError("broken"), 7]

    @cache.remember("f", revision="1")
    def function(x: int):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ValueError, match="broken"):
        await function(1)
    await cache.settle()
    assert await function(1) == 7


async def test_values_live_for_seven_days_unless_told_otherwise():
    clock = FakeClock()
    async with Cache(memory=MemoryStore(clock=clock), clock=clock) as cache:
        encoder, encode = remembered(cache)
        _, short = remembered(cache, encoder, ttl=timedelta(hours=1), revision="2")
        await encode(b"x")
        await short(b"x")
        clock.advance(6.2 * 86_400)
        assert (await encode.cached(b"x"), await short.cached(b"x")) == (True, False)
        clock.advance(0.8 * 86_400)
        assert not await encode.cached(b"x")


async def test_values_can_be_purged_by_tag_and_forgotten_one_by_one(cache):
    _, encode = remembered(cache, tags=("model=style",))
    await encode(b"a")
    await encode(b"b")
    await cache.settle()
    assert await encode.forget(b"a")
    assert not await encode.forget(b"a")
    assert (await encode.cached(b"a"), await encode.cached(b"b")) == (False, True)
    await cache.purge("model=style")
    assert not await encode.cached(b"b")


async def test_a_tampered_truncated_or_foreign_value_is_a_miss_and_a_counter(valkey):
    encoder = Encoder()
    with valkey.client() as client:
        async with sayonce.open(valkey.url, memory_bytes=0) as cache:
            encode = cache.remember("f", revision="1")(encoder)
            expected = (await encode(b"image")).tobytes()
            await cache.settle()
            name = next(client.scan_iter("sayonce:2:{????????????*"))
            sealed = client.get(name)
            for number, damaged in enumerate(
                [sealed[:-1], sealed[:90] + b"!" + sealed[91:], b"\x80\x04pickle" * 9, b""], 2
            ):
                client.set(name, damaged)
                assert (await encode(b"image")).tobytes() == expected
                await cache.settle()
                assert len(encoder.calls) == number
            assert sum(count for reason, count in cache.counters.items() if reason.startswith("refused")) >= 4


async def test_a_stored_value_that_is_not_what_is_declared_is_computed_anew_and_counted():
    store = FaultyStore()
    runs = []

    def function(x: int):
        runs.append(x)
        return np.zeros(len(runs), "f4")

    for shape, refused in ((1, 0), (2, 5), (2, 0)):
        async with Cache(store) as cache:
            declared = cache.remember("f", revision="1", spec=("float32", (shape,)))(function)
            values = await asyncio.gather(*(declared(1) for _ in range(5)))
            assert {value.shape for value in values} == {(shape,)}
            assert len(runs) == shape
            assert cache.counters["refused: content"] == refused


async def test_a_returned_value_that_is_not_what_is_declared_reaches_the_caller_by_its_field(cache):
    @cache.remember("f", revision="1", spec={"style": ("float32", (1, 192))})
    def function(x: int):
        return {"style": np.zeros((1, 191), "f4")}

    with pytest.raises(TypeError, match=r"style has the shape \(1, 191\), where \(1, 192\) is declared"):
        await function(1)
    assert not await function.cached(1)


async def test_the_return_annotation_says_which_classes_come_back(cache):
    @cache.remember("f", revision="1")
    def function(name: str) -> Style:
        return Style(name, np.arange(3))

    assert type(await function("a")) is type(await function("a")) is Style


async def test_no_autograd_graph_is_built_while_a_remembered_value_is_computed(cache):
    torch = pytest.importorskip("torch")
    grads = []

    @cache.remember("f", revision="1")
    def function(x: int):
        grads.append(torch.is_grad_enabled())
        return torch.nn.Linear(2, 2)(torch.ones(1, 2))

    assert not (await function(1)).requires_grad
    assert grads == [False]


async def test_a_batch_computes_only_missing_values_one_by_one_and_in_order(cache):
    encoder, encode = remembered(cache)
    await encode(b"bbbb")
    values = await encode.batch([b"aaaa", b"bbbb", b"cccc", b"aaaa"], size=4)
    assert [chr(int(value[0])) for value in values] == ["a", "b", "c", "a"]
    assert [image for image, _ in encoder.calls] == [b"bbbb", b"aaaa", b"cccc"]
    assert await encode.batch([]) == []


class Batches:
    def __init__(self):
        self.calls = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure = None

    async def __call__(self, texts: list, scale: int = 1):
        self.calls.append(list(texts))
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return [np.full(3, len(text) * scale) for text in texts]


def batches(cache):
    function = Batches()

    @cache.remember("batch", revision="1", batch=True)
    async def embed(texts: list, scale: int = 1):
        return await function(texts, scale)

    return function, embed


async def test_a_function_of_lists_is_called_once_with_the_missing_values(cache):
    function, embed = batches(cache)
    assert [value[0] for value in await embed(["a", "bb", "a"])] == [1, 2, 1]
    assert [value[0] for value in await embed(["ccc", "bb"])] == [3, 2]
    assert [value[0] for value in await embed(["bb"], scale=2)] == [4]
    assert function.calls == [["a", "bb"], ["ccc"], ["bb"]]
    assert await embed([]) == []


async def test_batches_at_once_share_what_they_have_in_common(cache):
    function, embed = batches(cache)
    function.gate.clear()
    asked = [asyncio.create_task(embed(texts)) for texts in (["a", "bb"], ["bb", "ccc"], ["ccc", "a"])]
    while len(function.calls) < 2:
        await asyncio.sleep(0)
    function.gate.set()
    assert [[value[0] for value in values] for values in await asyncio.gather(*asked)] == [[1, 2], [2, 3], [3, 1]]
    assert function.calls == [["a", "bb"], ["ccc"]]


async def test_a_batch_whose_caller_left_is_finished_for_the_others(cache):
    function, embed = batches(cache)
    function.gate.clear()
    first = asyncio.create_task(embed(["a", "bb"]))
    while not function.calls:
        await asyncio.sleep(0)
    second = asyncio.create_task(embed(["bb"]))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    function.gate.set()
    assert (await second)[0][0] == 2
    assert function.calls == [["a", "bb"]]


async def test_a_failed_batch_fails_everyone_in_it_and_keeps_nothing(cache):
    function, embed = batches(cache)
    function.failure = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        await embed(["a", "bb"])
    await cache.settle()
    function.failure = None
    assert len(await embed(["a", "bb"])) == 2


async def test_a_batch_that_returns_too_few_values_is_an_error(cache):
    @cache.remember("f", revision="1", batch=True)
    async def wrong(items: list):
        return items[1:]

    with pytest.raises(TypeError, match="returned 1 values for 2 items"):
        await wrong([1, 2])


@pytest.mark.parametrize("fault", ["hang", "gone"])
async def test_a_store_in_trouble_never_fails_a_call(fault):
    store = FaultyStore()
    async with Cache(store, memory=MemoryStore(0), budget_seconds=0.01) as cache:
        _, encode = remembered(cache)
        store.fault = fault
        for number in range(6):
            assert (await encode(bytes([number]) * 4))[0] == number
        assert len(await encode.batch([b"xxxx", b"yyyy"])) == 2


class Slow(FaultyStore):
    """Takes longer than the budget for small values."""

    async def get(self, key):
        await asyncio.sleep(0.06)
        return await super().get(key)


@pytest.mark.parametrize(("expected_bytes", "runs"), [(20_000_000, 1), (0, 2)])
async def test_values_that_are_said_to_be_large_get_more_time_than_small_ones(expected_bytes, runs):
    store, encoder = Slow(), Encoder()
    for _ in range(2):
        async with Cache(store, budget_seconds=0.01) as cache:
            _, encode = remembered(cache, encoder, expected_bytes=expected_bytes)
            await encode(b"image")
    assert len(encoder.calls) == runs


def test_a_remembered_function_still_looks_like_itself(cache):
    @cache.remember("f", revision="1")
    def documented(x: int) -> int:
        """What it does."""
        return x

    assert (documented.__name__, documented.__doc__) == ("documented", "What it does.")
    assert documented.__wrapped__(3) == 3


async def test_audio_and_content_may_be_nothing_or_several_or_file_objects(cache, tmp_path):
    wav, other = tmp_path / "a.wav", tmp_path / "b.wav"
    wav.write_bytes(reference())
    other.write_bytes(reference(SAMPLES[::-1]))
    same = [wav, str(wav), reference(), bytearray(reference()), memoryview(reference()), io.BytesIO(reference())]
    for option in ("audio", "content"):

        def function(path):
            return path.read() if hasattr(path, "read") else b"read"

        read = cache.remember(option, revision="1", **{option: ("path",)})(function)
        assert len({read.key(each) for each in same}) == 1
        keys = [read.key(each) for each in (None, [], [wav], (wav,), [wav, other], [other, wav], [wav, None], other)]
        assert len({*keys, read.key(wav)}) == len(keys) + 1
        with wav.open("rb") as file:
            file.seek(7)
            assert read.key(file) == read.key(wav)
        opened = io.BytesIO(reference())
        opened.seek(9)
        assert await read(opened) == reference(), "the function reads it from its start"
        assert await read.cached(opened)
        with pytest.raises(sayonce.InvalidRequest, match=r"a file opened with 'rb'|opened as text|a Voice is needed"):
            read.key(3)
    assert len({sayonce.Voice.from_audio(each) for each in same}) == 1
    for wrong in (None, 3, [wav], io.StringIO("text")):
        with pytest.raises(sayonce.InvalidRequest, match="a path, bytes or a file opened with 'rb' is needed"):
            sayonce.Voice.from_audio(wrong)


async def test_a_text_that_names_a_file_is_not_silently_text(cache, tmp_path, monkeypatch, caplog):
    @cache.remember("f", revision="1")
    async def encode(path: str) -> str:
        return path

    file = tmp_path / "voice.wav"
    file.write_bytes(b"sound")
    with pytest.raises(sayonce.Unkeyable, match=r"is a path, and what is in the file may change; .* audio=\('path',\)"):
        await encode(str(file))
    monkeypatch.chdir(tmp_path)
    texts = ["data", "Hello.", "either/or", "missing.wav", f"{file}\n", "x" * 5000 + ".wav", "nul\0.wav", str(tmp_path)]
    assert [await encode(text) for text in texts] == texts
    assert not caplog.records
    for _ in range(2):
        assert await encode("voice.wav") == "voice.wav"
    assert [record.message for record in caplog.records if "is a path" in record.message] == [caplog.messages[0]]
