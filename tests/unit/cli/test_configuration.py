"""``docs/configuration.md`` tells every setting, every option and every default as they are."""

import json
import re

import msgspec
import pytest

from sayonce.config import Settings, load_settings
from sayonce.speech.engines import EngineOptions, Parameter, build_engine
from sayonce.speech.engines.openai.options import OpenAIOptions
from tests.helpers.paths import ROOT

PAGE = ROOT.joinpath("docs/configuration.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
DEFAULTS = {row[0].strip("`"): row[1].strip("`") for row in ROWS if len(row) == 3}
SETTINGS = [
    f"{section.name}.{field.name}"
    for section in msgspec.structs.fields(Settings)
    if hasattr(section.type, "__struct_fields__")
    for field in msgspec.structs.fields(section.type)
]
KINDS = {
    "hibari": {},
    "espeak": {},
    "openai": {"base_url": "http://127.0.0.1:1/v1", "model": "tts-1"},
}


def value(settings, name):
    section, field = name.split(".")
    return getattr(getattr(settings, section), field)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_documented_with_its_default(name):
    default = value(Settings(), name)
    documented = DEFAULTS[name]
    if default in (None, "", ()):
        assert documented in ("none", "empty")
    else:
        variable = f"SAYONCE_{name.replace('.', '__').upper()}"
        assert value(load_settings(environment={variable: documented}), name) == default


def test_nothing_is_documented_that_is_no_setting():
    assert {name for name in DEFAULTS if "." in name and name.partition(".")[0] in Settings.__struct_fields__} == set(
        SETTINGS
    )


@pytest.mark.parametrize("field", msgspec.structs.fields(OpenAIOptions), ids=lambda field: field.name)
def test_every_engine_option_is_documented(field):
    documented = DEFAULTS[field.name]
    if type(field.default) is str and field.default:
        assert documented == field.default
    elif type(field.default) in (int, float):
        assert float(documented) == field.default
    elif type(field.default) is tuple and field.default:
        assert json.loads(documented) == list(field.default)
    elif field.required and field.name != "kind":
        assert documented == "required"
    else:
        assert documented in ("none", "empty", "by kind", "the name", str(shared_default(field.name)))


def shared_default(option):
    return getattr(build_engine("hibari", {}), option, None)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_documented_with_its_range(kind):
    engine = build_engine(kind, KINDS[kind])
    assert set(engine.options.__struct_fields__) >= set(EngineOptions.__struct_fields__)
    documented = {row[1].strip("`"): row[2:] for row in ROWS if len(row) == 4 and row[0].strip("`") == kind}
    assert documented == {
        each.name: [f"`{each.default}`" if each.default != "" else "empty", shown_range(each)]
        for each in engine.parameters
    }


def shown_range(parameter):
    if parameter.minimum is None:
        return "any text" if parameter.type is str else "any"
    return (
        f"{parameter.minimum:g} to {parameter.maximum:g}"
        if parameter.maximum is not None
        else f"from {parameter.minimum:g}"
    )


def test_the_documented_buckets_are_the_buckets():
    speed = Parameter(name="speed", type=float, default=1.0, minimum=0.5, maximum=2.0, tolerance=0.05)
    found = re.findall(r"^\| ([\d.]+) ≤ speed < ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert len(found) == 2
    for low, high, spoken in found:
        assert speed.accept(float(low)) == speed.accept(float(high) - 1e-9) == float(spoken)
        assert speed.accept(float(high)) != float(spoken)


def test_the_example_is_a_valid_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("REMOTE_TTS_KEY", "key")
    file = tmp_path / "sayonce.toml"
    file.write_text(re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1])
    settings = load_settings(str(file), environment={})
    for name, options in settings.engines.items():
        build_engine(name, options)


def test_a_file_may_begin_with_the_mark_that_notepad_writes(tmp_path):
    (tmp_path / "sayonce.toml").write_bytes(b"\xef\xbb\xbf[server]\nport = 4711\n")
    assert load_settings(str(tmp_path / "sayonce.toml"), environment={}).server.port == 4711
