"""A clip is encoded in few steps, the first of them short, and the event loop is held by none."""

import threading

import pytest

from sayonce.audio.encode import encoders
from sayonce.audio.encode.libav import LibavEncoder
from sayonce.audio.encode.mp3 import Mp3Encoder
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak

CLASSES = {"mp3": Mp3Encoder, "opus": LibavEncoder, "aac": LibavEncoder}
TEN_SECONDS = 100
"""Chunks of the stub's."""


@pytest.fixture
def fed(monkeypatch):
    """What encoders are given: the bytes, and whether it was in the event loop."""
    pieces = []
    for kind in {*CLASSES.values()}:

        def feed(self, pcm, *, _feed=kind.feed):
            pieces.append((len(pcm), threading.current_thread() is threading.main_thread()))
            return _feed(self, pcm)

        monkeypatch.setattr(kind, "feed", feed)
    return pieces


@pytest.mark.parametrize("form", CLASSES)
async def test_a_sentence_that_comes_at_once_is_encoded_in_few_steps_and_the_first_is_short(fed, form):
    engine = StubEngine(chunks=TEN_SECONDS)
    async with serving(engine) as client:
        assert (await speak(client, response_format=form)).status_code == 200
    sizes = [size for size, _ in fed if size]
    assert sum(sizes) == 2 * 24_000 * 10
    assert sizes[0] <= 2 * 24_000 * 0.07
    assert len(sizes) <= 6


@pytest.mark.parametrize("form", CLASSES)
@pytest.mark.parametrize("chunks", [1, 3, TEN_SECONDS])
async def test_the_event_loop_encodes_no_more_than_a_thread_would_cost(fed, form, chunks):
    async with serving(StubEngine(chunks=chunks)) as client:
        await speak(client, response_format=form)
    assert fed
    for size, in_event_loop in fed:
        assert in_event_loop == (size <= CLASSES[form].at_once_bytes)


@pytest.mark.parametrize("form", CLASSES)
async def test_an_encoder_that_has_something_to_set_up_is_opened_in_a_thread(monkeypatch, form):
    """PyAV's import takes 50 ms, and LAME computes tables."""
    opened = []
    of_a_kind = encoders.open_encoder

    def open_encoder(*kind):
        opened.append((kind[0].name, threading.current_thread() is threading.main_thread()))
        return of_a_kind(*kind)

    monkeypatch.setattr(encoders, "open_encoder", open_encoder)
    async with serving(StubEngine()) as client:
        for number in range(3):
            await speak(client, f"Number {number}.", response_format=form)
    assert {in_event_loop for name, in_event_loop in opened if name == form} == {False}
