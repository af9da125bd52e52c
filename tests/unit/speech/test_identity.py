"""The key of a request: everything that is heard, and nothing else."""

import json
import sys
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayonce.audio.formats import FORMATS, RENDERINGS
from sayonce.cache import Cache
from sayonce.core.key import canonical, derive
from sayonce.errors import InvalidRequest
from sayonce.features.remember import make_task
from sayonce.speech import identity
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.engines import KINDS, build_engine, fingerprint
from sayonce.speech.engines.references import Reference
from sayonce.speech.explain import differences
from sayonce.speech.lint import lint_engine
from sayonce.speech.request import parse_json, parse_request
from sayonce.speech.synthesis import Synthesizer
from sayonce.testing import StubEngine
from tests.helpers.confusable_values import PAIRS, everywhere, typed


def synthesizer_of(*engines, **options):
    return Synthesizer(Cache(), Catalogue(engines), **options)


def key_of(synthesizer, tenant="", **fields):
    asked = {"model": "stub", "voice": "anna", "input": "Hello", **fields}
    return synthesizer.plan(parse_request(asked, synthesizer.catalogue), tenant).take_key


def built(kind, tmp_path):
    """Build an engine of a kind; of IndexTTS2 the package and the weights are empty, as a key needs no more."""
    if kind == "indextts2":
        package = tmp_path / "indextts"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "infer_v2.py").touch()
        (tmp_path / "config.yaml").touch()
        return build_engine(kind, {"model_dir": str(tmp_path)})
    return build_engine(kind, {"base_url": "http://127.0.0.1:1/v1", "model": "m"} if kind == "openai" else {})


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_engine_has_an_unkeyed_parameter(kind, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    engine = built(kind, tmp_path)
    findings = lint_engine(synthesizer_of(engine), engine)
    assert {"input", "voice", "model", "tenant", *(each.name for each in engine.parameters)} <= {
        finding.field for finding in findings
    }
    assert [finding for finding in findings if not finding.ok] == []


def test_an_engine_tells_texts_apart_by_the_voice_and_the_parameters_too():
    told = []

    class Phonemes(StubEngine):
        def canonical_text(self, text, voice, parameters):
            told.append((text, voice, parameters))
            return text

    synthesizer = synthesizer_of(Phonemes())
    request = parse_request({"model": "stub", "voice": "anna", "input": "Hello"}, synthesizer.catalogue)
    synthesizer.plan(request, "")
    assert told[0] == ("Hello", "anna", request.utterance.parameters)


def test_other_weights_code_libraries_or_options_of_indextts2_are_another_engine(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "indextts", raising=False)  # of another test's folder
    built("indextts2", tmp_path)
    weights, code = tmp_path / "gpt.pth", tmp_path / "indextts" / "front.py"
    weights.write_bytes(b"one"), code.write_bytes(b"1")

    def identity(**options):
        return json.dumps(build_engine("indextts2", {"model_dir": str(tmp_path), **options}).identity())

    found = [identity(), identity(options={"use_fp16": True}), identity(revision="1"), identity(revision="2")]
    assert identity() == found[0]
    code.write_bytes(b"2")
    found += [identity(), identity(revision="1")]
    weights.write_bytes(b"two")
    found.append(identity())
    monkeypatch.setattr(fingerprint, "version", lambda _: "0.0.1")
    found.append(identity())
    (tmp_path / "indextts" / "infer_v2.py").write_text("def infer_generator(): ...")
    assert json.loads(identity())["stream"] is True  # whose end has a silence more than the file's
    assert len(set(found)) == len(found)


class Forgetful(StubEngine):
    """Declares that its emotion cannot be heard."""

    unheard = frozenset({"emotion"})


def test_the_lint_finds_a_parameter_that_is_heard_and_not_keyed():
    engine = Forgetful()
    assert [each.field for each in lint_engine(synthesizer_of(engine), engine) if not each.ok] == [
        "emotion",
        "trace_id",
    ]


REQUESTS = st.fixed_dictionaries(
    {"input": st.sampled_from(["Hello", "hello", "Hello.", "你好"]), "voice": st.sampled_from(["anna", "ben"])},
    optional={
        "speed": st.sampled_from([None, 1, 1.0, 1.5, 2]),
        "emotion": st.sampled_from([None, "calm", "happy"]),
        "trace_id": st.sampled_from(["", "x"]),
    },
)


def heard(fields):
    """What a listener could tell apart."""
    return fields["input"], fields["voice"], float(fields.get("speed") or 1), fields.get("emotion") or "calm"


@given(REQUESTS, REQUESTS)
def test_requests_share_a_key_exactly_when_nobody_can_hear_them_apart(one, other):
    synthesizer = synthesizer_of(StubEngine())
    assert (key_of(synthesizer, **one) == key_of(synthesizer, **other)) == (heard(one) == heard(other))


FAR = synthesizer_of(build_engine("openai", {"base_url": "http://127.0.0.1:1/v1", "model": "m"}))


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if "b'" not in repr(pair)], ids=repr)
def test_fields_that_are_passed_on_share_a_key_exactly_when_they_are_equal_with_their_types(pair):
    """As they come over the wire, nested as they are."""

    def key(value):
        body = json.dumps({"model": "openai", "voice": "v", "input": "Hi", "extra": value}, ensure_ascii=False)
        return FAR.plan(FAR.parse(parse_json(body.encode()))).take_key

    for one, other in everywhere(pair):
        assert (key(one) == key(other)) == (typed(one) == typed(other))


SPELLINGS = st.text(
    st.sampled_from("aA \n\u00e9e\u0301\u212b\u00c5\u030a\ufb01fi\u00a0\u3000\u200b\ufeff-1\0"), max_size=5
)


@given(SPELLINGS, SPELLINGS, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_texts_share_a_key_exactly_when_they_are_canonically_equivalent(one, other, form):
    synthesizer = synthesizer_of(StubEngine())
    for another in (other, unicodedata.normalize(form, one), one.replace("\0", "").replace("\u200b", "")):
        texts = [f"x{text}x" for text in (one, another)]
        keys = {key_of(synthesizer, input=text) for text in texts}
        assert (len(keys) == 1) == (len({unicodedata.normalize("NFC", text) for text in texts}) == 1)


@given(REQUESTS, st.randoms())
def test_the_order_of_a_requests_fields_does_not_change_its_key(fields, random):
    synthesizer = synthesizer_of(StubEngine())
    shuffled = list({"model": "stub", **fields}.items())
    random.shuffle(shuffled)
    body = json.dumps(dict(shuffled)).encode()
    plan = synthesizer.plan(parse_request(parse_json(body), synthesizer.catalogue))
    assert plan.take_key == key_of(synthesizer, **fields)


@given(REQUESTS, REQUESTS)
def test_explain_finds_a_difference_exactly_when_the_keys_differ(one, other):
    synthesizer = synthesizer_of(StubEngine())
    documents = [
        synthesizer.document(parse_request({"model": "stub", **fields}, synthesizer.catalogue))
        for fields in (one, other)
    ]
    assert (differences(*documents) == []) == (key_of(synthesizer, **one) == key_of(synthesizer, **other))


def test_two_engines_of_one_kind_share_only_what_is_the_same_engine():
    options = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    engines = [
        build_engine("a", {"kind": "openai", **options}),
        build_engine("b", {"kind": "openai", "base_url": "http://127.0.0.1:2/v1", "model": "m"}),
        build_engine("c", {"kind": "openai", **options, "revision": "2"}),
        build_engine("d", {"kind": "openai", **options, "response_format": "mp3"}),
    ]
    synthesizer = synthesizer_of(*engines)
    keys = {
        synthesizer.plan(parse_request({"model": e.name, "voice": "v", "input": "Hi"}, synthesizer.catalogue)).take_key
        for e in engines
    }
    assert len(keys) == len(engines)


ONE, TWO, THREE = (f"http://gpu-{number}:8000/v1" for number in (1, 2, 3))


def key_at(base_url, **options):
    engine = build_engine("far", {"kind": "openai", "base_url": base_url, "model": "m", "revision": "2", **options})
    return key_of(synthesizer_of(engine), model="far", voice="v", input="Hi")


def test_servers_of_one_engine_are_keyed_by_the_first_address_whatever_comes_behind_it():
    # What was stored by releases that knew one address alone is found again.
    assert key_at(ONE).hex() == "4f734f144802edaadbf7bcf4d57aba67ab20db6297682571963e3f0ba389d4dd"
    assert {key_at(each) for each in ([ONE], [ONE, TWO], [ONE, TWO, THREE], [ONE, THREE, TWO])} == {key_at(ONE)}
    assert key_at([ONE, TWO], revision="3") != key_at(ONE)


def test_another_first_address_is_another_key_unless_keyed_as_says_it_is_the_same():
    assert len({key_at(each) for each in ([ONE, TWO], [TWO, ONE], [THREE])}) == 3
    moved = [key_at(each, keyed_as=f"{ONE}/") for each in ([TWO, ONE], [TWO, THREE], THREE)]
    assert set(moved) == {key_at(ONE)}
    assert key_at(THREE, keyed_as=TWO) == key_at(TWO)


def test_tenants_namespaces_and_lossy_takes_have_keys_of_their_own():
    engine = StubEngine()
    keys = {
        key_of(synthesizer_of(engine)),
        key_of(synthesizer_of(engine), tenant="school"),
        key_of(synthesizer_of(engine, take="opus")),
        key_of(Synthesizer(Cache(namespace="other"), Catalogue([engine]))),
    }
    assert len(keys) == 4


def test_other_settings_of_the_encoders_are_another_key(monkeypatch):
    """A later release with another bit rate raises ``DERIVATION``; ``test_audio_encode`` sees that it does."""
    take = key_of(synthesizer_of(StubEngine()))
    for audio_format in RENDERINGS:
        rate = audio_format.sample_rate_hz
        told = {"format": audio_format.name} | ({} if rate is None else {"sample_rate_hz": rate})
        variants = [canonical(told | {"derivation": identity.DERIVATION + n}) for n in (0, 1)]
        assert identity.derivative(take, audio_format) == derive(take, variants[0]) != derive(take, variants[1])
    before = {form: key_of(synthesizer_of(StubEngine(), take=form)) for form in ("flac", "opus", "as-is")}
    monkeypatch.setattr(identity, "DERIVATION", identity.DERIVATION + 1)
    after = {form: key_of(synthesizer_of(StubEngine(), take=form)) for form in before}
    assert [form for form in before if before[form] != after[form]] == ["opus"]


def test_no_format_or_rate_is_kept_under_the_key_of_another_or_of_a_take():
    takes = [key_of(synthesizer_of(StubEngine()), input=text) for text in ("one", "two")]
    keys = [identity.derivative(take, audio_format) for take in takes for audio_format in RENDERINGS]
    assert len({*takes, *keys}) == 2 + 2 * (len(FORMATS) - 1 + 6 + 6)  # pcm and wav at six rates, pcm at no other


@pytest.mark.parametrize("value", [1.0, 1.04, 0.95])
def test_within_the_tolerance_the_engine_is_asked_for_the_same(value):
    engine = build_engine("hibari", {"tolerance": {"speed": 0.05}})
    catalogue = Catalogue([engine])
    request = parse_request({"model": "hibari", "input": "Hello", "speed": value}, catalogue)
    assert request.utterance.parameters["speed"] == 1.0


@pytest.mark.parametrize("value", [1.05, 0.94])
def test_values_further_apart_than_the_tolerance_are_different_clips(value):
    engine = build_engine("hibari", {"tolerance": {"speed": 0.05}})
    request = parse_request({"model": "hibari", "input": "Hello", "speed": value}, Catalogue([engine]))
    assert request.utterance.parameters["speed"] != 1.0


@pytest.mark.parametrize("value", [1, 1.0, "1", True, None, [1], {"a": 1}])
def test_fields_that_are_passed_on_are_keyed_with_their_type(value):
    engine = build_engine("openai", {"base_url": "http://127.0.0.1:1/v1", "model": "m"})
    synthesizer = synthesizer_of(engine)

    def key(given):
        asked = {"model": "openai", "voice": "v", "input": "Hi", "extra": given}
        return synthesizer.plan(parse_request(asked, synthesizer.catalogue)).take_key

    others = [
        other for other in (1, 1.0, "1", True, None, [1], {"a": 1}) if (type(other), other) != (type(value), value)
    ]
    assert key(value) == key(value)
    assert key(value) not in [key(other) for other in others]


@pytest.mark.parametrize(
    "value",
    [
        "https://example.org/a.wav", " HTTP://example.org/a.wav", "file:///srv/a.wav", "s3://voices/a.wav",
        ["https://example.org/a.wav"], {"emo_audio": "https://example.org/a.wav"}, [{"audio": ["gs://a/b"]}],
    ],
)  # fmt: skip
def test_an_address_in_a_field_that_is_passed_on_is_refused_as_what_is_behind_it_may_change(value):
    catalogue = Catalogue([build_engine("openai", {"base_url": "http://127.0.0.1:1/v1", "model": "m"})])
    asked = {"model": "openai", "voice": "v", "input": "https://example.org, spoken", "extra_params": value}
    with pytest.raises(InvalidRequest, match="send the audio itself") as refused:
        parse_request(asked, catalogue)
    assert refused.value.param == "extra_params"
    parse_request({**asked, "extra_params": "no https://example.org"}, catalogue)


@pytest.mark.parametrize(("value", "place"), [(2**64, "extra"), ({"a": [1, -(2**63) - 1]}, "extra.a[1]")])
def test_a_field_that_cannot_be_keyed_is_refused_by_its_own_name(value, place):
    synthesizer = synthesizer_of(build_engine("openai", {"base_url": "http://127.0.0.1:1/v1", "model": "m"}))
    with pytest.raises(InvalidRequest, match=r"beyond 64 bits") as refused:
        key_of(synthesizer, model="openai", extra=value)
    assert refused.value.param == place


def test_null_and_leaving_out_are_one_where_a_default_is_declared_and_two_where_none_is():
    far = synthesizer_of(build_engine("openai", {"base_url": "http://127.0.0.1:1/v1", "model": "m"}))
    declared = {key_of(far, model="openai", **fields) for fields in ({}, {"speed": None}, {"speed": 1}, {"speed": 1.0})}
    passed_on = {key_of(far, model="openai", **fields) for fields in ({}, {"extra": None}, {"extra": ""}, {"extra": 0})}
    assert (len(declared), len(passed_on)) == (1, 4)


def test_a_default_that_a_release_changes_is_another_key():
    engines = [StubEngine(), StubEngine()]
    engines[1].parameters = (msgspec.structs.replace(engines[1].parameters[0], default=1.1), *engines[1].parameters[1:])
    keys = [[key_of(synthesizer_of(engine), **fields) for fields in ({}, {"speed": 1.0})] for engine in engines]
    assert keys[0][0] == keys[0][1] == keys[1][1] != keys[1][0]


def test_engines_of_one_name_with_other_settings_share_nothing_in_one_store():
    options = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m"}
    sections = [
        options,
        options | {"base_url": "http://127.0.0.1:2/v1"},
        options | {"model": "n"},
        options | {"revision": "2"},
        options | {"response_format": "pcm"},
        options | {"response_format": "pcm", "sample_rate_hz": 16_000},
        {"kind": "espeak"},
        {"kind": "hibari"},
    ]
    voices = {"espeak": "en-us", "hibari": "heart"}
    keys = [
        key_of(synthesizer_of(build_engine("tts", each)), model="tts", voice=voices.get(each["kind"], "v"))
        for each in sections
    ]
    assert len(set(keys)) == len(keys)


def test_an_alias_is_the_voice_that_it_stands_for_wherever_it_is_configured():
    here, there = (
        build_engine("hibari", {"voice_aliases": aliases}) for aliases in ({"alloy": "heart"}, {"nova": "heart"})
    )
    keys = {
        key_of(synthesizer_of(here), model="hibari", voice="alloy"),
        key_of(synthesizer_of(there), model="hibari", voice="nova"),
        key_of(synthesizer_of(there), model="hibari", voice="heart"),
    }
    assert len(keys) == 1


@pytest.mark.parametrize("other", ["Anna", "ANNA", " anna", "a\u0308nna", "\u00e4nna", "\uff41nna", "anna\u200b"])
def test_a_voice_that_only_the_far_side_knows_is_its_exact_name(other):
    far = synthesizer_of(build_engine("openai", {"base_url": "http://127.0.0.1:1/v1", "model": "m"}))
    assert key_of(far, model="openai", voice=other) != key_of(far, model="openai", voice="anna")


def test_clips_features_and_voices_of_one_store_never_share_a_key():
    """A document of the caller's own is none that a clip or a remembered function has."""
    cache = Cache()
    remembered = make_task(len, "encoder", "1", {}).key(cache, (b"x",), {})
    clip = key_of(Synthesizer(cache, Catalogue([StubEngine()])))
    documents = ["encoder", ["encoder", "1"], {"remember": "encoder"}, ["voices", "x"], b"x", {}]
    keys = [remembered, clip, identity.derivative(clip, FORMATS["mp3"]), *map(cache.key, documents)]
    assert len(set(keys)) == len(keys)


def test_an_overlong_text_is_refused_before_it_is_keyed():
    with pytest.raises(InvalidRequest, match="at most 4096"):
        key_of(synthesizer_of(StubEngine()), input="x" * 4097)


def test_the_document_of_a_request_is_that_of_former_releases():
    """Under another one nothing that is stored would be found again; a release that changes it raises ``SCHEMA``."""
    catalogue = Catalogue([StubEngine()])
    request = parse_request({"model": "stub", "voice": "anna", "input": "Hello"}, catalogue)
    assert identity.document(request, "school", "flac", {"name": "stub"}) == {
        "schema": 1, "tenant": "school", "engine": {"name": "stub"}, "model": request.utterance.model, "voice": "anna",
        "text": "Hello", "parameters": {"speed": 1.0, "emotion": "calm"}, "take": "flac",
    }  # fmt: skip
    assert identity.document(request, "", "opus", {})["take"] == ["opus", identity.DERIVATION]
    cloned = with_reference(request, Reference("0123456789abcdef0123", "What is said."))
    voice = identity.document(cloned, "", "flac", {})["voice"]
    assert voice == {"clip": "0123456789abcdef0123", "text": "What is said."}


def with_reference(request, reference):
    return msgspec.structs.replace(request, utterance=msgspec.structs.replace(request.utterance, reference=reference))


def test_a_take_is_purged_by_its_tenant_engine_model_and_voice_and_by_its_references():
    request = parse_request({"model": "stub", "voice": "anna", "input": "Hello"}, Catalogue([StubEngine()]))
    tags = ("tenant=school", "engine=stub", f"model={request.utterance.model}", "voice=anna")
    assert identity.tags(request, "school") == tags
    reference = Reference("0123456789abcdef0123")
    named = with_reference(request, reference)
    assert identity.tags(named, "school") == (*tags, "voice=clip:0123456789abcdef")
    unnamed = msgspec.structs.replace(
        named, utterance=msgspec.structs.replace(named.utterance, voice="clip:0123456789abcdef")
    )
    assert identity.tags(unnamed, "school") == (*tags[:3], "voice=clip:0123456789abcdef")
