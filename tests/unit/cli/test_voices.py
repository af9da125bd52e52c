"""Uploaded voices on the command line: the same voice, under the same key, as the gateway speaks with."""

import asyncio
import base64
import json

import pytest

from sayonce.config import load_settings
from sayonce.service import build_cache
from sayonce.speech.voices import UploadedVoices
from tests.helpers.commandline import InProcess
from tests.helpers.voice_samples import reference


@pytest.fixture
def quick(tmp_path, monkeypatch, capsys, upstream):
    asyncio.run(uploaded(tmp_path))
    (tmp_path / "sayonce.toml").write_text(
        f'[store]\nurl = "sqlite:///clips.db"\n[engines.far]\nkind = "openai"\nmodel = "m"\nbase_url = "{upstream.url}"\n'
    )
    return InProcess(tmp_path, monkeypatch, capsys)


async def uploaded(directory):
    settings = load_settings(environment={}, overrides={"store.url": f"sqlite:///{directory}/clips.db"})
    async with build_cache(settings) as cache:
        await UploadedVoices(cache).add("", "alice", reference(), "one two")


def test_say_speaks_in_an_uploaded_voice_and_explain_knows_its_key(quick, upstream):
    said = quick("say", "Hello.", "--voice", "alice", "--json").json
    [heard] = upstream.heard
    assert base64.b64decode(heard["ref_audio"].partition(",")[2]) == reference()
    assert (heard["ref_text"], "voice" in heard) == ("one two", False)
    request = json.dumps({"model": "far", "input": "Hello.", "voice": "alice"}).encode()
    explained = quick("explain", "-", "--json", stdin=request).json
    assert (explained["key"], explained["stored"]["take"]) == (said["key"], "sqlite")
