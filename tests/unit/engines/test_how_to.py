"""The engine of `docs/how-to/add-an-engine.md`, as it stands there: built from settings, served, and its key linted."""

import json
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from sayonce.cache import Cache
from sayonce.errors import ConfigError
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.engines import KINDS, build_engine
from sayonce.speech.lint import lint_engine
from sayonce.speech.synthesis import Synthesizer
from tests.helpers.documents import code_blocks
from tests.helpers.serving import serving, speak, until

PAGE = "how-to/add-an-engine.md"
MOST_LINES = 80
RATE_HZ = 16_000
PROGRAM = f"""#!{sys.executable}
import sys, time
text = sys.stdin.readline()
told = dict(zip(sys.argv, sys.argv[1:]))
if "fail" in text:
    sys.exit(3)
samples = bytes(range(1, 200)) * int(60 * float(told["--length-scale"]))
sys.stdout.buffer.write(samples + (text + repr(sys.argv[1:])).encode().ljust(1000)[:999])  # an odd number of bytes
sys.stdout.flush()
if "long" in text:
    open(sys.argv[2] + ".began", "w").close()
    time.sleep(100)
"""


@pytest.fixture
def section(tmp_path, monkeypatch):
    """Put the page's module where Python finds it, and a program in Piper's place; yield a section of the settings."""
    (tmp_path / "piper_of_the_page.py").write_text(code_blocks(PAGE)[0])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "piper_of_the_page", raising=False)
    monkeypatch.setitem(KINDS, "piper", "piper_of_the_page:PiperEngine")
    program = tmp_path / "piper"
    program.write_text(PROGRAM)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    voices = tmp_path / "voices"
    voices.mkdir()
    for name in ("de_DE-thorsten-low", "en_US-lessac-low"):
        (voices / f"{name}.onnx").write_bytes(name.encode())
        (voices / f"{name}.onnx.json").write_text(json.dumps({"audio": {"sample_rate": RATE_HZ}}))
    return {"kind": "piper", "voices_dir": str(voices), "program": str(program), "default_voice": "en_US-lessac-low"}


def test_a_whole_engine_fits_in_eighty_lines():
    assert len(code_blocks(PAGE)[0].splitlines()) <= MOST_LINES


async def test_the_engine_of_the_page_is_served_once_and_then_from_the_cache(section):
    async with serving(build_engine("narrator", section)) as client:
        made = await speak(client, model="narrator", voice=None, speed=2, response_format="pcm", sample_rate=RATE_HZ)
        assert (made.status_code, made.headers["cache-status"]) == (200, "sayonce; fwd=miss; stored"), made.text
        assert len(made.content) == (199 * 30 + 999) // 2 * 2
        assert np.frombuffer(made.content, "<i2").any()
        again = await speak(
            client, model="narrator", voice="en_US-lessac-low", speed=2.0, response_format="pcm", sample_rate=RATE_HZ
        )
        assert again.headers["cache-status"].startswith("sayonce; hit")
        assert again.content == made.content
        for change in ({"speed": 1.9}, {"variation": 0.1}, {"voice": "de_DE-thorsten-low"}, {"input": "Good bye."}):
            other = await speak(client, **{"model": "narrator", "voice": None, "speed": 2, **change})
            assert other.headers["cache-status"] == "sayonce; fwd=miss; stored", change


async def test_a_language_that_is_asked_for_as_a_voice_is_answered_with_the_voice_that_speaks_it(section):
    async with serving(build_engine("narrator", section)) as client:
        refused = await speak(client, model="narrator", voice="de")
        assert refused.status_code == 404
        assert "did you mean 'de_DE-thorsten-low'?" in refused.text


async def test_a_program_that_fails_is_an_error_and_nothing_is_kept(section):
    async with serving(build_engine("narrator", section)) as client:
        for _ in range(2):
            failed = await speak(client, "Please fail.", model="narrator", voice=None)
            assert failed.status_code == 502
            assert "its program ended with 3" in failed.text


async def test_a_client_that_leaves_ends_the_program(section, tmp_path):
    async with serving(build_engine("narrator", section)) as client:
        body = {"model": "narrator", "input": "So long.", "response_format": "pcm"}
        headers = {"Cache-Control": "no-store"}
        async with client.stream("POST", "/v1/audio/speech", json=body, headers=headers) as response:
            assert response.status_code == 200
            await until((tmp_path / "voices" / "en_US-lessac-low.onnx.began").exists)
        await until(lambda: client.service.synthesizer.takes.slots["narrator"].taken == 0)
        assert not [process for process in os.scandir("/proc") if runs(process, section["program"])]


def runs(process, program):
    try:
        return program.encode() in Path(process.path, "cmdline").read_bytes()
    except OSError:  # no process, or one that has ended
        return False


def test_the_lint_passes_for_the_engine_of_the_page(section):
    engine = build_engine("narrator", section)
    findings = lint_engine(Synthesizer(Cache(), Catalogue([engine])), engine)
    assert {"input", "voice", "model", "speed", "variation"} <= {finding.field for finding in findings}
    assert [finding for finding in findings if not finding.ok] == []


def test_other_weights_and_another_program_are_another_identity(section, tmp_path):
    identities = [build_engine("narrator", section).identity()]
    (tmp_path / "voices" / "en_US-lessac-low.onnx").write_bytes(b"other weights")
    identities.append(build_engine("narrator", section).identity())
    (tmp_path / "piper").write_text(PROGRAM + "# newer")
    identities.append(build_engine("narrator", section).identity())
    assert len({json.dumps(each) for each in identities}) == 3


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"program": "/nowhere/piper"}, "engines.narrator.program: there is no program '/nowhere/piper'"),
        ({"voices_dir": "/nowhere"}, "engines.narrator.voices_dir: /nowhere has no NAME.onnx"),
        ({"voices": "/nowhere"}, "engines.narrator.voices is not an option of this kind"),
        ({"default_voice": "fr"}, "engines.narrator.default_voice"),
    ],
)
def test_a_wrong_option_of_the_engine_of_the_page_is_refused_by_its_name(section, wrong, told):
    with pytest.raises(ConfigError, match=told):
        build_engine("narrator", section | wrong)


def test_a_program_of_ones_own_serves_the_engine_without_a_change_to_the_package(section, tmp_path, monkeypatch):
    import piper_of_the_page

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    names = dict(vars(piper_of_the_page))
    exec(code_blocks(PAGE)[1].replace("/srv/voices", section["voices_dir"]), names)
    assert names["service"].synthesizer.catalogue.find(None).name == "narrator"
    assert callable(names["app"])
