import subprocess
import sys

import pytest

import sayonce.audio
from sayonce.audio.formats import FORMATS, format_named
from sayonce.errors import InvalidRequest


def test_every_format_of_the_interface_is_there_under_its_media_type():
    assert {name: each.media_type for name, each in FORMATS.items()} == {
        "mp3": "audio/mpeg",
        "opus": "audio/ogg",
        "aac": "audio/aac",
        "flac": "audio/flac",
        "wav": "audio/wav",
        "pcm": "audio/pcm",
        "mulaw": "audio/basic",
    }


def test_an_unknown_format_is_refused_with_the_choices():
    with pytest.raises(InvalidRequest) as refused:
        format_named("ogg")
    assert refused.value.param == "response_format"
    assert all(name in refused.value.message for name in FORMATS)


def test_raw_pcm_tells_its_rate_and_channels_and_the_rest_carry_their_own():
    assert FORMATS["pcm"].content_type == "audio/pcm;rate=24000;channels=1"
    assert format_named("pcm", 8_000).content_type == "audio/pcm;rate=8000;channels=1"
    assert FORMATS["mulaw"].content_type == "audio/basic"
    assert FORMATS["wav"].content_type == format_named("wav", 8_000).content_type == "audio/wav"


def test_every_public_name_of_the_formats_is_there_and_the_list_is_sorted():
    names = sayonce.audio.__all__
    assert all(hasattr(sayonce.audio, name) for name in names)
    assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))


def test_reading_about_formats_imports_no_codec():
    heavy = "{'numpy', 'soundfile', 'soxr', 'av'}"
    script = f"import sys; from sayonce.audio.formats import format_named; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
