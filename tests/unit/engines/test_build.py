import subprocess
import sys

import pytest

from sayonce.errors import ConfigError, InvalidRequest, MissingExtra
from sayonce.speech.engines import KINDS, Engine, build_engine
from tests.helpers.engine_speech import utterance

AT_HAND = sorted(KINDS.keys() - {"indextts2"})  # which needs a package of its own: tests/engines/indextts2.py
NEEDED = {"openai": {"base_url": "http://127.0.0.1:9/v1", "model": "tts-1"}}


@pytest.mark.parametrize("kind", AT_HAND)
def test_a_section_sets_the_options_that_every_engine_has(kind):
    section = {
        "concurrency": "3",  # as from the environment
        "queue": 0,
        "max_characters": 100,
        "aliases": ["tts-1-hd"],
        "voice_aliases": {"alloy": {"espeak": "cmn", "hibari": "heart", "openai": "nova"}[kind]},
        "tolerance": {"speed": 0.1},
        "cost_per_hour": 1.5,
        "default_voice": "alloy",
    }
    engine = build_engine("mine", {"kind": kind, **NEEDED.get(kind, {}), **section})
    assert (engine.name, engine.kind) == ("mine", kind)
    assert (engine.concurrency, engine.queue, engine.max_characters, engine.cost_per_hour) == (3, 0, 100, 1.5)
    assert "tts-1-hd" in engine.models
    assert utterance(engine, "Hi.").voice == section["voice_aliases"]["alloy"]
    assert utterance(engine, "Hi.", speed=1.08).parameters["speed"] == 1.0
    assert utterance(engine, "Hi.", speed=1.12).parameters["speed"] == 1.2


@pytest.mark.parametrize("kind", AT_HAND)
def test_an_engine_without_options_has_its_defaults(kind):
    engine = build_engine(kind, NEEDED.get(kind, {}))
    assert engine.kind == kind
    assert engine.concurrency >= 1
    assert engine.queue == Engine.queue
    assert utterance(engine, "Hi.", "cmn" if kind == "espeak" else "heart", speed=1.08).parameters["speed"] == 1.08
    assert engine.unheard == set()


def test_engines_of_one_kind_do_not_share_their_settings():
    one = build_engine("one", {"kind": "hibari", "tolerance": {"speed": 0.1}, "queue": 1})
    two = build_engine("two", {"kind": "hibari"})
    assert (one.queue, two.queue) == (1, Engine.queue)
    assert utterance(two, "Hi.", speed=1.08).parameters["speed"] == 1.08


@pytest.mark.parametrize("tolerance", [{"speed": 0}, {"seed": 0}])
def test_a_tolerance_of_zero_is_exact(tolerance):
    engine = build_engine("hibari", {"tolerance": tolerance})
    given = utterance(engine, "Hi.", speed=1.08, seed=3).parameters
    assert (given["speed"], given["seed"]) == (1.08, 3)


def test_a_tolerance_does_not_widen_a_range():
    engine = build_engine("hibari", {"tolerance": {"speed": 0.4}})
    assert utterance(engine, "Hi.", speed=1.9).parameters["speed"] == 1.8
    with pytest.raises(InvalidRequest, match=r"between 0\.5 and 2"):
        utterance(engine, "Hi.", speed=2.1)


@pytest.mark.parametrize(
    ("name", "section", "told"),
    [
        ("mine", {}, "engines.mine.kind must be one of espeak, hibari, indextts2, openai, not 'mine'"),
        (
            "mine",
            {"kind": "hibary"},
            "engines.mine.kind must be one of espeak, hibari, indextts2, openai, not 'hibary'",
        ),
        ("mine", {"kind": ["hibari"]}, "engines.mine.kind must be one of"),
        ("hibari", {"concurency": 2}, "engines.hibari.concurency is not an option .* concurrency, cost_per_1k_chars"),
        ("hibari", {"base_url": "http://x"}, "engines.hibari.base_url is not an option of this kind"),
        ("hibari", {"concurrency": 0}, "engines.hibari.concurrency must be a whole number of at least 1, not 0"),
        ("hibari", {"concurrency": "many"}, "engines.hibari.concurrency must be a whole number .*, not 'many'"),
        ("hibari", {"queue": -1}, "engines.hibari.queue must be a whole number of at least 0, not -1"),
        ("hibari", {"cost_per_hour": -1}, "engines.hibari.cost_per_hour must be a number of at least 0, not -1"),
        ("hibari", {"tolerance": {"sped": 0.1}}, "engines.hibari.tolerance.sped is not a number .* speed, seed"),
        ("hibari", {"tolerance": {"speed": -0.1}}, "engines.hibari.tolerance.speed must be 0 or more, not -0.1"),
        ("hibari", {"tolerance": {"speed": float("nan")}}, "engines.hibari.tolerance.speed must be 0 or more, not nan"),
        ("hibari", {"tolerance": {"speed": float("inf")}}, "engines.hibari.tolerance.speed must be 0 or more, not inf"),
        ("hibari", {"tolerance": {"seed": 0.5}}, "engines.hibari.tolerance.seed must be a whole number"),
        ("hibari", {"tolerance": 0.1}, "engines.hibari.tolerance must be a section of its own, not 0.1"),
        ("espeak", {"default_voice": "alloy"}, "engines.espeak.default_voice: 'espeak' has no voice 'alloy'"),
        ("espeak", {"voice_aliases": {"a": "b"}}, "engines.espeak.voice_aliases.a: 'espeak' has no voice 'b'"),
        ("openai", {}, "engines.openai.base_url is missing; an engine of kind 'openai' needs it"),
    ],
)
def test_a_wrong_option_of_an_engine_is_named_with_what_would_be_right(name, section, told):
    with pytest.raises(ConfigError, match=told):
        build_engine(name, section)


@pytest.mark.parametrize(
    ("kind", "module", "extra"), [("hibari", "hibari", "voice"), ("espeak", "espeakng_loader", "espeak")]
)
def test_a_missing_library_is_answered_with_the_command_that_installs_it(monkeypatch, kind, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'sayonce\[{extra}\]'"):
        build_engine(kind, {})


def test_the_engines_own_libraries_are_imported_when_they_are_needed():
    heavy = {"hibari", "onnxruntime", "httpx", "numpy", "espeakng_loader"}
    script = f"import sys, sayonce.speech.engines; print(sorted({heavy!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
