"""Where an engine does not speak in the voice of a reference, uploads and requests for such a voice are told so."""

import base64

import pytest

from sayonce.testing import StubEngine
from tests.helpers.audio_samples import made_by_sndfile, murmur
from tests.helpers.serving import serving, speak
from tests.helpers.stub_engines import Cloner
from tests.helpers.uploaded_voices import reference, upload

CANNOT = "cannot speak in the voice of a reference"


class Fixed(StubEngine):
    """Has its own voices alone."""

    passes_unknown = False


async def test_an_upload_that_no_engine_here_can_speak_in_is_answered_and_listed_with_a_warning():
    async with serving(Fixed()) as client:
        made = await upload(client)
        listed = (await client.get("/v1/audio/voices")).json()["data"][0]
    assert made.status_code == 201
    assert made.json()["warning"] == listed["warning"]
    assert "no engine here speaks in the voice of a reference" in made.json()["warning"]


async def test_an_upload_that_an_engine_here_can_speak_in_has_no_such_warning():
    async with serving(Fixed(), Cloner(name="cloner")) as client:
        good = made_by_sndfile(murmur(1.5), "WAV", "PCM_16")
        assert "warning" not in (await upload(client, audio=good)).json()


@pytest.mark.parametrize("by", ["name", "id"])
async def test_a_request_for_an_uploaded_voice_is_told_that_its_engine_cannot_clone(by):
    async with serving(Fixed(), Cloner(name="cloner")) as client:
        voice = (await upload(client)).json()[by]
        answer = await speak(client, voice=voice)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (404, "voice")
        assert "is an uploaded voice, and 'stub' " + CANNOT in error["message"]
        assert CANNOT not in (await speak(client, voice="nobody")).json()["error"]["message"]


@pytest.mark.parametrize("field", ["ref_audio", "references", "ref_text"])
async def test_a_reference_that_is_sent_along_is_refused_with_the_reason_that_the_engine_cannot_clone(field):
    audio = base64.b64encode(reference()).decode()
    sent = {"ref_audio": audio, "references": [{"audio_path": audio}], "ref_text": "Hello."}[field]
    async with serving(Fixed()) as client:
        answer = await speak(client, **{field: sent})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, field)
    assert CANNOT in error["message"]
