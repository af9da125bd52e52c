"""Which fields of a request are heard, keyed and passed on, and which are left out and told."""

from datetime import date

import openai
import pytest

from sayonce.cache import Cache
from sayonce.errors import ConfigError, InvalidRequest
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.engines import build_engine
from sayonce.speech.engines.bounds import MAX_TEXT
from sayonce.speech.lint import lint_engine
from sayonce.speech.synthesis import Synthesizer
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak

OPENAIS = {"instructions": "Speak calmly.", "user": "user-1234"}
TOLD = "instructions, user"


def far(url="http://127.0.0.1:1/v1", **options):
    return build_engine("far", {"kind": "openai", "base_url": url, "model": "m", "default_voice": "v", **options})


def plan(engine, *, strict=False, **fields):
    synthesizer = Synthesizer(Cache(), Catalogue([engine], strict=strict))
    return synthesizer.plan(synthesizer.parse({"input": "Hello.", **fields}))


async def heard(upstream, requests, **options):
    """Return what a server was sent for requests, and the answers."""
    async with serving(far(upstream.url, **options)) as client:
        answers = [await speak(client, model="far", **fields) for fields in requests]
    return [said | {"input": ""} for said in upstream.heard], answers


# -- fields of OpenAI's that an engine does not know ---------------------------------------------------------------------


async def test_fields_of_openais_are_left_out_and_told_the_same_on_hit_and_miss(tmp_path):
    engine = StubEngine()
    async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db") as client:
        miss = await speak(client, **OPENAIS)
        hits = [await speak(client, **OPENAIS) for _ in range(2)]
        events = await speak(client, stream_format="sse", **OPENAIS)
        assert [each.headers["x-sayonce-ignored"] for each in (miss, *hits, events)] == [TOLD] * 4
        assert {each.headers["cache-status"] for each in hits} == {"sayonce; hit; detail=memory"}
        plain = await speak(client)
        assert plain.headers["x-sayonce-key"] == miss.headers["x-sayonce-key"]
        assert "x-sayonce-ignored" not in plain.headers
        assert len(engine.calls) == 1
        assert not OPENAIS.keys() & engine.calls[0].parameters.keys()


async def test_openais_sdk_may_send_instructions_to_any_engine():
    async with (
        serving(StubEngine()) as client,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{client.port}/v1", api_key="any") as sdk,
    ):
        asked = {"model": "gpt-4o-mini-tts", "voice": "coral", "input": "Hello.", "instructions": "Speak calmly."}
        for _ in range(2):
            raw = await sdk.audio.speech.with_raw_response.create(**asked, extra_body={"user": "user-1234"})
            assert raw.headers["x-sayonce-ignored"] == TOLD


async def test_ignored_ornaments_are_told_in_the_header_behind_ignored_fields():
    engine = build_engine("hibari", {})
    found = plan(engine, input="Hello \N{GRINNING FACE}", **OPENAIS).request
    assert found.ignored == "instructions, user, input: U+1F600"
    assert plan(engine, input="Hello \N{GRINNING FACE}").request.ignored == "input: U+1F600"


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_empty_field_that_is_left_out_is_neither_told_nor_refused(nothing):
    for strict in (False, True):
        found = plan(StubEngine(), strict=strict, instructions=nothing, user=nothing)
        assert (found.request.ignored, found.take_key) == ("", plan(StubEngine()).take_key)


@pytest.mark.parametrize(("name", "engine"), [("instructions", StubEngine()), ("user", StubEngine()), ("user", far())])
def test_a_strict_server_refuses_fields_that_would_be_left_out(name, engine):
    with pytest.raises(InvalidRequest, match=rf"takes no '{name}', and server\.strict refuses") as refused:
        plan(engine, strict=True, **{name: "x"})
    assert refused.value.param == name


@pytest.mark.parametrize("name", ["instructions", "user"])
@pytest.mark.parametrize(
    ("value", "wanted"),
    [(5, "must be a string"), ({"a": "b"}, "must be a string"), ("x" * (MAX_TEXT + 1), "at most 16,384")],
)
@pytest.mark.parametrize("engine", [StubEngine(), far()], ids=lambda engine: engine.name)
def test_a_field_that_is_left_out_is_still_checked_for_its_type_and_bounds(name, value, wanted, engine):
    with pytest.raises(InvalidRequest, match=wanted) as refused:
        plan(engine, **{name: value})
    assert refused.value.param == name


def test_a_field_that_nobody_knows_is_still_refused_by_its_name():
    with pytest.raises(InvalidRequest, match="takes no 'emotions'; its parameters are: speed, emotion") as refused:
        plan(StubEngine(), emotions="x", **OPENAIS)
    assert refused.value.param == "emotions"


@pytest.mark.parametrize(
    ("kind", "speed", "limits"),
    [("hibari", 4.0, "0.5 and 2"), ("espeak", 0.25, "0.5 and 2.5"), ("stub", 5, "0.25 and 4")],
)
def test_a_speed_that_cannot_be_spoken_is_refused_with_the_range(kind, speed, limits):
    engine = StubEngine() if kind == "stub" else build_engine(kind, {})
    with pytest.raises(InvalidRequest, match=f"'speed' must be between {limits}, not ") as refused:
        plan(engine, speed=speed)
    assert refused.value.param == "speed"


async def test_explain_tells_what_is_left_out():
    async with serving(StubEngine()) as client:
        request = {"input": "Hello.", **OPENAIS}
        assert (await client.post("/v1/cache/explain", json=request)).json()["ignored"] == TOLD


# -- forms in which clients write what they ask for -----------------------------------------------------------------------


@pytest.mark.parametrize("voice", ["ben", {"id": "ben"}, {"id": "ben", "name": None, "language": None}])
def test_a_voice_may_be_a_name_or_an_object_with_an_id(voice):
    assert plan(StubEngine(), voice=voice).request.utterance.voice == "ben"


@pytest.mark.parametrize("voice", [None, {"id": None}, {"id": None, "name": None}])
def test_a_voice_of_nulls_is_no_voice_and_means_the_default(voice):
    assert plan(StubEngine(), voice=voice).request.utterance.voice == "anna"


@pytest.mark.parametrize("voice", [{}, {"id": 5}, {"name": "ben"}, {"id": None, "name": "ben"}, ["ben"], 5])
def test_a_voice_that_is_neither_a_name_nor_an_object_with_an_id_is_refused(voice):
    with pytest.raises(InvalidRequest) as refused:
        plan(StubEngine(), voice=voice)
    assert refused.value.param == "voice"


@pytest.mark.parametrize("name", ["wav", "WAV", " Wav ", "wav\n"])
async def test_a_format_may_be_written_in_any_case(name):
    async with serving(StubEngine()) as client:
        assert (await speak(client, response_format=name)).headers["content-type"] == "audio/wav"


@pytest.mark.parametrize("name", ["", "  ", None])
def test_a_request_without_a_format_gets_mp3(name):
    assert plan(StubEngine(), response_format=name).request.format.name == "mp3"


# -- servers elsewhere: user ------------------------------------------------------------------------------------------------


async def test_the_field_user_is_neither_passed_on_nor_keyed(upstream):
    said, answers = await heard(upstream, [{"user": "one"}, {"user": "two"}, {}])
    assert len(said) == 1
    assert "user" not in said[0]
    assert [answer.headers.get("x-sayonce-ignored") for answer in answers] == ["user", "user", None]


async def test_the_field_user_is_passed_on_where_the_section_says_so_and_never_keyed(upstream):
    said, answers = await heard(upstream, [{"user": "one"}, {"user": "two"}, {}], drop=[])
    assert [each["user"] for each in said] == ["one"]
    assert all("x-sayonce-ignored" not in answer.headers for answer in answers)


async def test_instructions_are_passed_on_and_keyed(upstream):
    said, _ = await heard(upstream, [{"instructions": "one"}, {"instructions": "two"}, {"instructions": ""}, {}])
    assert [each.get("instructions") for each in said] == ["one", "two", None]


# -- servers elsewhere: defaults and drop -------------------------------------------------------------------------------------


async def test_defaults_are_passed_on_and_keyed_as_if_they_were_given(upstream):
    options = {"defaults": {"emotion": "calm", "speed": 1.5, "extra": {"top_p": 0.9}}}
    given = options["defaults"]
    said, answers = await heard(
        upstream, [{}, given, {"emotion": None}, {"emotion": "happy"}, {"speed": 1.0}, {"extra": {}}], **options
    )
    assert [{name: each.get(name) for name in given} for each in said] == [
        given, given | {"emotion": "happy"}, given | {"speed": None}, given | {"extra": {}},
    ]  # fmt: skip
    assert len({answer.headers["x-sayonce-key"] for answer in answers[:3]}) == 1
    assert plan(far(**options)).take_key == plan(far(), **given).take_key


async def test_fields_that_a_section_drops_are_neither_passed_on_nor_keyed_and_are_told(upstream):
    requests = [{"trace_id": number, "instructions": "x", "user": "u"} for number in ("1", {"a": 2})]
    said, answers = await heard(upstream, [*requests, {}], drop=["trace_id", "instructions", "user"])
    assert len(said) == 1
    assert not said[0].keys() & requests[0].keys()
    told = "instructions, trace_id, user"
    assert [answer.headers.get("x-sayonce-ignored") for answer in answers] == [told, told, None]


def test_the_environment_gives_defaults_in_the_types_of_parameters():
    assert far(defaults={"speed": "1.5", "instructions": "1.5"}).defaults == {"speed": 1.5, "instructions": "1.5"}


@pytest.mark.parametrize("name", ["model", "input", "voice", "response_format", "sample_rate", "stream", "stream_format", "ref_audio",
                                  "references", "ref_text", "speaker"])  # fmt: skip
@pytest.mark.parametrize("option", ["defaults", "drop"])
def test_the_gateways_own_fields_are_neither_added_nor_dropped(name, option):
    with pytest.raises(ConfigError, match=rf"engines\.far\.{option}.*{name}.*field of the gateway's own"):
        far(**{option: {name: "x"} if option == "defaults" else [name]})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"defaults": {"api_key": "sk-1"}}, "defaults.api_key: looks like a secret, .* api_key_env"),
        ({"defaults": {"openai-api-key": "sk-1"}}, "looks like a secret"),
        ({"defaults": {"Authorization": "Bearer sk-1"}}, "looks like a secret"),
        ({"defaults": {"speed": 9}}, "'speed' must be between 0.25 and 4"),
        ({"defaults": {"speed": "fast"}}, "'speed' must be a number"),
        ({"defaults": {"clip": "https://example.org/a.wav"}}, "holds the address"),
        ({"defaults": {"text": "x" * 20_000}}, "at most 16,384"),
        ({"defaults": {"x" * 300: 1}}, "at most 256"),
        ({"defaults": {"user": "gateway"}}, r"defaults.user: is in engines\.far\.drop, too"),
        ({"drop": ["speed"]}, "'speed' changes what is heard"),
        ({"drop": ["a, b"]}, "'a, b' must be the name of a field"),
        ({"drop": [""]}, "'' must be the name of a field"),
        ({"drop": "user"}, "must be a list of texts"),
        ({"defaults": ["user"]}, "must be a section of its own"),
    ],
)
def test_options_for_fields_that_could_not_be_obeyed_are_refused_at_the_start(options, said):
    with pytest.raises(ConfigError, match=rf"engines\.far\.(defaults|drop).*{said}|{said}") as refused:
        far(**options)
    assert "sk-1" not in refused.value.message


def test_a_date_in_the_settings_file_is_refused_as_a_default():
    with pytest.raises(ConfigError, match=r"engines\.far\.defaults: "):
        far(defaults={"day": date(2026, 1, 1)})


@pytest.mark.parametrize(
    "options", [{}, {"drop": []}, {"drop": ["instructions", "mood"], "defaults": {"emotion": "calm"}}]
)
def test_the_lint_of_keys_knows_which_fields_are_left_out_and_which_are_passed_on(options):
    engine = far(**options)
    findings = {each.field: each for each in lint_engine(Synthesizer(Cache(), Catalogue([engine])), engine)}
    assert [each for each in findings.values() if not each.ok] == []
    assert not findings["user"].keyed
    assert findings["instructions"].keyed is ("instructions" not in engine.drop)
    assert {*engine.drop} <= findings.keys()
