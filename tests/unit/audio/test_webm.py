"""Recordings of browsers: pictures beside the sound, which end or begin at other times."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from sayonce.audio.decode.webm import Kind
from sayonce.audio.decode.whole_file import decode
from sayonce.audio.voice import Voice
from sayonce.errors import BadAudio
from tests.helpers.audio_files import speech

RATE = 48_000
SPEECH = speech(1, 2.0, RATE)


def recording(picture_seconds, *, sound_begins=0.0, rate=5, container="webm"):
    """Return a file of two seconds of sound; pictures are there if they last."""
    sink = io.BytesIO()
    with av.open(sink, "w", format=container, options={"cluster_time_limit": "1000"}) as file:
        sound = file.add_stream("libopus", rate=RATE, layout="mono")
        packets = []
        if picture_seconds:
            pictures = file.add_stream("libvpx", rate=rate)
            pictures.width = pictures.height = 32
            for number in range(round(picture_seconds * rate)):
                picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number % 256, np.uint8), format="rgb24")
                picture.pts, picture.time_base = number, Fraction(1, rate)
                packets += pictures.encode(picture)
            packets += pictures.encode(None)
        frame = av.AudioFrame.from_ndarray(SPEECH.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.pts, frame.time_base = round(sound_begins * RATE), Fraction(1, RATE)
        packets += [*sound.encode(frame), *sound.encode(None)]
        file.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
    return sink.getvalue()


FILES = {
    "pictures that last longer": {"picture_seconds": 5},
    "a picture more": {"picture_seconds": 2.2},
    "pictures that end first": {"picture_seconds": 1},
    "sound that begins late": {"picture_seconds": 5, "sound_begins": 1.5},
    "sound alone that begins late": {"picture_seconds": 0, "sound_begins": 1.5},
    "Matroska": {"picture_seconds": 5, "container": "matroska"},
}


@pytest.mark.parametrize("name", FILES)
def test_the_sound_of_a_video_is_heard_wherever_it_begins_and_ends(name):
    body = recording(**FILES[name])
    sound = decode(body, apart=True)
    assert 2.0 <= sound.frames / RATE <= 2.1
    assert Voice.from_audio(body).seconds == pytest.approx(sound.frames / RATE)


@pytest.mark.parametrize("name", FILES)
def test_a_video_that_lacks_its_end_is_refused(name):
    body = recording(**FILES[name])
    for share in (0.5, 0.8):
        with pytest.raises(BadAudio, match="cut off"):
            decode(body[: int(len(body) * share)], apart=True)


def test_a_video_whose_lengths_were_corrected_behind_the_cut_is_refused():
    body = bytearray(recording(5))
    clusters = Kind.CLUSTER.to_bytes(4, "big")
    cut = body.rfind(clusters)
    assert cut > body.find(clusters)
    segment = body.find(Kind.SEGMENT.to_bytes(4, "big")) + 4
    body[segment : segment + 8] = (1 << 56 | cut - segment - 8).to_bytes(8, "big")
    with pytest.raises(BadAudio, match="cut off"):
        decode(bytes(body[:cut]), apart=True)
