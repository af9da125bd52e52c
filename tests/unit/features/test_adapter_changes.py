"""What changes in an engine after it was wrapped is noticed at the next call."""

import subprocess
import sys

import numpy as np
import pytest

import sayonce

torch = pytest.importorskip("torch")


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout())
        self.runs = []

    def embed(self, data: bytes):
        self.runs.append(self.net[0].weight.dtype)
        return self.net[0](torch.ones(1, 4, dtype=self.net[0].weight.dtype)).detach()


def load(encoder):
    encoder.load_state_dict({name: value + 1 for name, value in encoder.state_dict().items()})


def assign(encoder):
    encoder.load_state_dict({name: value + 1 for name, value in encoder.state_dict().items()}, assign=True)


def in_place(encoder):
    with torch.no_grad():
        encoder.net[0].weight.mul_(2)


def through_data(encoder):
    encoder.net[0].weight.data.mul_(2)


def replace(encoder):
    encoder.net[0] = torch.nn.Linear(4, 4)


def there_and_back(encoder):
    encoder.half().float()


CHANGES = [load, assign, in_place, through_data, replace, there_and_back, torch.nn.Module.half, torch.nn.Module.double]


@pytest.fixture
def cache():
    with sayonce.open_sync("memory://") as cache:
        yield cache


@pytest.fixture
def encoder(cache):
    torch.manual_seed(0)
    return sayonce.adapters.generic.wrap(Encoder().eval(), cache, "embed", revision="1")


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changed_weights_make_new_features(encoder, change):
    before = encoder.embed(b"x")
    change(encoder)
    for _ in range(2):
        torch.testing.assert_close(encoder.embed(b"x"), Encoder.embed(encoder, b"x"), rtol=0, atol=0)
    assert len(encoder.runs) == 4
    assert before.dtype != encoder.embed(b"x").dtype or not torch.equal(before, encoder.embed(b"x"))


def test_weights_that_come_back_find_the_features_of_before(cache):
    encoder = Encoder().eval()
    sayonce.adapters.generic.wrap(encoder, cache, "embed", revision="1")
    load(encoder)
    encoder.embed(b"x")
    weights = {name: value.clone() for name, value in encoder.state_dict().items()}
    load(encoder)
    encoder.embed(b"x")
    encoder.load_state_dict(weights)
    encoder.embed(b"x")
    assert len(encoder.runs) == 2


def test_training_mode_has_features_of_its_own(encoder):
    for mode in (False, True, False, True):
        encoder.train(mode)
        encoder.embed(b"x")
    assert len(encoder.runs) == 2


def test_autocast_holds_where_the_features_are_computed_and_is_in_the_key(encoder):
    full = encoder.embed(b"x")
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert encoder.embed(b"x").dtype == torch.bfloat16
    assert torch.equal(encoder.embed(b"x"), full)
    assert len(encoder.runs) == 2


def test_the_precision_of_matrix_products_is_in_the_key(encoder):
    before = torch.get_float32_matmul_precision()
    try:
        for precision in ("highest", "high", "highest", "high"):
            torch.set_float32_matmul_precision(precision)
            encoder.embed(b"x")
    finally:
        torch.set_float32_matmul_precision(before)
    assert len(encoder.runs) == 2


async def test_autocast_is_in_the_key_of_an_async_cache_that_reads_files(tmp_path):
    import asyncio

    from tests.helpers.voice_samples import reference

    class Reader(Encoder):
        def embed(self, path):
            return super().embed(b"")

    path = tmp_path / "a.wav"
    path.write_bytes(reference())

    def call(reader):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            halved = reader.embed(path)
        return halved.dtype, reader.embed(path).dtype

    async with sayonce.open("memory://") as cache:
        reader = sayonce.adapters.generic.wrap(Reader().eval(), cache, "embed", revision="1", audio=("path",))
        for _ in range(2):
            assert await asyncio.to_thread(call, reader) == (torch.bfloat16, torch.float32)
    assert len(reader.runs) == 2


def test_weights_are_not_read_again_while_they_stay(cache, monkeypatch):
    from sayonce.features.adapters import _state

    read = []
    monkeypatch.setattr(_state, "weights_of", lambda *part: read.append(part) or "digest")
    encoder = sayonce.adapters.generic.wrap(Encoder(), cache, "embed", revision="1")
    for number in range(3):
        encoder.embed(bytes([number]))
    assert read == []
    assert np.array_equal(encoder.embed(b"x"), encoder.embed(b"x"))


def test_torchs_usual_modes_are_those_of_a_process_without_torch():
    modes = "import sys; {}; from sayonce.features.adapters._modes import Modes; print(Modes.now().document())"
    programs = [[sys.executable, "-c", modes.format(first)] for first in ("import torch", "pass")]
    heard = {subprocess.run(program, capture_output=True, check=True, text=True).stdout for program in programs}
    assert heard == {"[[], []]\n"}
