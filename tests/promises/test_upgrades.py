"""What a release has stored, every later one opens whole, or its changelog says what begins anew and why."""

import json
import re
from base64 import b64decode
from hashlib import sha256

import numpy as np
import pytest

from sayonce import __version__
from sayonce.observe.trace_reader import read_traces
from sayonce.speech import identity
from sayonce.speech.engines import KINDS
from tests.golden import content
from tests.golden.content import FEATURES, FOLDER, OUTDATED, STORES
from tests.golden.identities import IDENTITIES, differences
from tests.golden.opening import as_tenant, ask, cache_of, gateway, load, place, sqlite_url, totals_of
from tests.helpers.bare_engines import WRAPS
from tests.helpers.paths import ROOT
from tests.helpers.redis_server import emptied
from tests.helpers.upstream import Upstream, wav

RELEASES = sorted(each.name for each in FOLDER.iterdir())
EXPECTED = {release: json.loads((FOLDER / release / "expected.json").read_text()) for release in RELEASES}
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
WHAT_TO_DO = (
    "what release {release} has stored is not found as it was: {what}. If that is meant, raise the version in which it "
    'differs (docs/format.md, Versions), and say under "Begins anew" in CHANGELOG.md what is made anew and why. Only '
    "while {release} is not out, write its golden store again: python -m tests.golden.make"
)


def changed(release):
    """Return the versions that have another number now than when a release wrote its store."""
    now = content.versions()
    return {name for name, number in EXPECTED[release]["versions"].items() if now[name] != number}


SERVERS = {"sqlite": "sqlite", "redis": "redis", "valkey": "redis"}
"""Where a golden store is opened, and which of them that is."""
OPENED = [
    (release, server) for release in RELEASES for server, store in SERVERS.items() if store not in changed(release)
]
"""The stores that this release has to open; the changelog tells of the others."""


@pytest.fixture(params=OPENED, ids=" over ".join)
def golden(request, tmp_path):
    """The release, the URL of its store, the directory of its bodies, and what it answered."""
    release, server = request.param
    place(FOLDER / release, SERVERS[server], tmp_path)
    url = sqlite_url(tmp_path)
    if server != "sqlite":
        running = emptied(request.getfixturevalue(f"{server}_session"))
        url = running.url
        with running.client() as client:
            load(client, FOLDER / release / "redis.json")
    return release, url, tmp_path, EXPECTED[release][SERVERS[server]]


def begun_anew(release, deployment, response_format):
    """Whether the changelog tells that such clips are made anew since a release."""
    takes = {"opus": "derivation", "as-is": "decoding"}.get(deployment, "document")
    made = {"document", takes} | ({"derivation"} if response_format in content.DERIVED else set())
    return bool(changed(release) & made)


def wrong(release, what):
    return WHAT_TO_DO.format(release=release, what=what)


# -- the store is opened whole -------------------------------------------------------------------------------------------


def test_every_release_has_a_golden_store():
    assert __version__ in RELEASES, "write it: python -m tests.golden.make"


@pytest.mark.parametrize("deployment", content.DEPLOYMENTS)
async def test_every_clip_is_a_hit_byte_for_byte_and_nothing_is_spoken(golden, deployment):
    release, url, folder, expected = golden
    async with gateway(url, folder, deployment) as client:
        for each in expected["answers"]:
            asked = each["asked"]
            if each["deployment"] != deployment or begun_anew(release, deployment, asked["response_format"]):
                continue
            answer = await ask(client, each["tenant"], asked)
            assert answer.status_code == 200, wrong(release, f"{asked} is not found: {answer.text}")
            found = answer.headers["content-type"], len(answer.content), sha256(answer.content).hexdigest()
            recorded = each["media_type"], each["bytes"], each["sha256"]
            assert found == recorded, wrong(release, f"{asked} is another file")
            assert "; hit;" in answer.headers["cache-status"]
        assert client.service.cache.counters["engine calls"] == 0


async def test_a_clip_that_begins_anew_is_made_from_the_take_that_is_stored(golden, monkeypatch):
    _, url, folder, _ = golden
    monkeypatch.setattr(
        identity, "_VARIANTS", {of: b"another derivation" + it for of, it in identity._VARIANTS.items()}
    )
    async with gateway(url, folder) as client:
        for name in content.DERIVED:
            answer = await ask(client, "acme", content.GREETING | {"response_format": name})
            assert answer.status_code == 200, answer.text
        assert client.service.cache.counters["engine calls"] == 0


async def test_what_was_purged_or_removed_is_not_heard_though_the_store_has_it(golden):
    release, url, folder, _ = golden
    async with gateway(url, folder) as client:
        service = client.service
        for fields in OUTDATED:
            plan = service.synthesizer.plan(service.synthesizer.parse({"model": "far", **fields}, "acme"), "acme")
            assert begun_anew(release, "flac", "flac") or await service.cache.store.get(plan.take_key), wrong(
                release, f"the key of {fields} is another"
            )
            answer = await ask(client, "acme", fields)
            assert answer.status_code == 502, wrong(release, f"{fields} was purged, and is heard again")


async def test_every_uploaded_voice_speaks_by_its_reference_and_a_removed_one_does_not(golden):
    release, url, folder, _ = golden
    with Upstream() as engine:
        engine.answer(200, wav(bytes(3200)), "audio/wav")
        async with gateway(url, folder, base_url=engine.url) as client:
            voices = [("acme", "Ada", 220), ("acme", "Ada again", 220), ("globex", content.GLOBEX_VOICE, 330)]
            for tenant, name, pitch_hz in voices:
                answer = await ask(client, tenant, {"input": f"{tenant} hears {name} today.", "voice": name})
                assert answer.status_code == 200, wrong(release, f"the voice {name!r} is lost: {answer.text}")
                said = engine.heard[-1]
                assert b64decode(said["ref_audio"].partition(",")[2]) == content.reference(pitch_hz)
                assert said["ref_text"] == content.REFERENCE_TEXT
            removed = {"input": "Who speaks?", "voice": content.REMOVED_VOICE}
            assert (await ask(client, "acme", removed)).status_code == 404
            listed = (await client.get("/v1/audio/voices", headers=as_tenant("acme"))).json()["data"]
            assert {"Ada", "Ada again"} <= {voice["name"] for voice in listed}
            assert content.REMOVED_VOICE not in {voice["name"] for voice in listed}


async def test_a_copy_of_a_voice_at_a_server_is_still_known_and_wanted(golden):
    release, url, folder, _ = golden
    async with gateway(url, folder) as client:
        copies, copy = client.service.synthesizer.voices.copies, content.copy_of(client.service.synthesizer)
        found = await copies.all()
        assert {address: each.record.mark for address, each in found.items()} == {copy: "the mark of a copy"}, wrong(
            release, "copies of voices at servers are called otherwise, and those that are there are left behind"
        )
        assert copy[1] in copies.wanted()


async def test_the_ledger_and_the_totals_are_read(golden):
    release, url, folder, expected = golden
    assert await totals_of(url) == pytest.approx(expected["totals"]), wrong(release, "its totals are others")
    async with gateway(url, folder) as client:
        day = {"from": content.DAY, "to": content.DAY}
        ledger = await client.get("/v1/cache/ledger", params=day, headers=as_tenant("operator"))
        assert ledger.json()["lines"] == expected["ledger"], wrong(release, "its ledger is another")


@pytest.mark.parametrize("release", RELEASES)
def test_a_trace_that_was_recorded_is_replayed_whole(release):
    trace = read_traces([FOLDER / release / "trace"])
    assert (len(trace.accesses), trace.unreadable) == (EXPECTED[release]["requests traced"], 0)


async def test_every_feature_is_recalled_and_its_function_not_called(golden):
    release, url, _, _ = golden
    async with cache_of(url) as cache:
        for function, options, arguments in FEATURES:
            recalled = await remembered(cache, function, options)(*arguments)
            assert equal(recalled, function(*arguments)), wrong(release, f"{function.__name__} is another value")
        assert cache.counters["led"] == 0, wrong(release, "a remembered function is called again")
        assert (await cache.fetch(content.DOCUMENT, lambda: b"computed anew")).body == content.VALUE, wrong(
            release, "the key of a document is another"
        )


async def test_a_feature_that_was_purged_is_computed_again(golden):
    _, url, _, _ = golden
    async with cache_of(url) as cache:
        prompt, options = content.FORGOTTEN
        await remembered(cache, content.conditioning, options)(prompt)
        assert cache.counters["led"] == 1


def remembered(cache, function, options):
    return cache.remember(function.__name__, revision="golden", **options)(function)


def equal(one, other):
    if isinstance(one, np.ndarray | np.generic):
        return type(one) is type(other) and one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(equal, one, other))
    return equal(vars(one), vars(other)) if hasattr(one, "__dict__") else (type(one), one) == (type(other), other)


# -- or the changelog says what begins anew ---------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_the_changelog_names_every_version_that_is_not_that_of_a_stored_one(release):
    now = content.versions()
    untold = {
        name for name in changed(release) if not re.search(begins_anew(name, now[name]), since(release), re.DOTALL)
    }
    assert not untold, wrong(
        release, ", ".join(f"{name} {EXPECTED[release]['versions'][name]} is {now[name]} now" for name in untold)
    )


def since(release):
    """Return what the changelog tells of later releases."""
    return CHANGELOG.partition(f"## [{release}]")[0]


def begins_anew(name, number):
    """Return what the changelog has of a version that was raised, such as "- `derivation` 3: MP3 is made anew …"."""
    return rf"### Begins anew\n(?:(?!\n##).)*^- `{name}` {number}: \w".replace("^", r"(?<=\n)")


@pytest.mark.parametrize("release", RELEASES)
def test_a_new_form_of_envelopes_comes_with_a_new_layout_of_every_store(release):
    """Within one layout an older release would take newer envelopes for damage, and write over them."""
    if changed(release) & {"envelope", "pointer"}:
        assert changed(release) >= {*STORES}


def test_a_version_in_the_changelog_is_found_under_its_heading_alone():
    entry = "## [0.3.0]\n\n### Begins anew\n\n- `redis` 3: why\n- `derivation` 3: why\n\n### Fixed\n- `sqlite` 3: why\n"
    found = [name for name in ("redis", "derivation", "sqlite") if re.search(begins_anew(name, 3), entry, re.DOTALL)]
    assert found == ["redis", "derivation"]
    assert not re.search(begins_anew("redis", 4), entry, re.DOTALL)


# -- engines -----------------------------------------------------------------------------------------------------------

NEEDED = {"hibari": "hibari", "espeak": "espeakng_loader"}
"""What an engine needs to be built at all."""


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("release", RELEASES)
def test_the_identity_of_an_engine_is_what_it_was_or_the_changelog_names_the_engine(release, name, tmp_path):
    """Else all that was made with it is made anew, and nobody has decided so."""
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    before = json.loads((FOLDER / release / "identities.json").read_text())
    if name not in before:
        pytest.skip(f"{release} did not have it")
    now = json.loads(json.dumps(IDENTITIES[name](tmp_path)))
    differing = list(differences(before[name], now))
    told = re.search(rf"### Begins anew\n(?:(?!\n##).)*(?<=\n)- `{re.escape(name)}`: \w", since(release), re.DOTALL)
    assert told or not differing, (
        f"{name}: its identity is not that of release {release}, so what was made with it is made anew: "
        f'{"; ".join(differing)}. If that is meant, say "- `{name}`: why" under "Begins anew" in CHANGELOG.md; only while '
        f"{release} is not out: python -m tests.golden.make"
    )


def test_every_kind_of_engine_and_every_adapter_has_a_golden_identity():
    assert {name.partition(",")[0] for name in IDENTITIES} >= {*KINDS, *(f"adapter {name}" for name in WRAPS)}


def test_a_changed_identity_is_told_by_its_place():
    before = {"engine": {"kind": "a", "signs": 8}, "parameters": {"speed": 1.0}, "text": ["a"]}
    now = {"engine": {"kind": "a", "signs": 9}, "parameters": {"speed": 1, "seed": 0}, "text": ["a"]}
    assert list(differences(before, now)) == [
        "engine.signs was 8 and is 9",
        "parameters.seed was 'nothing' and is 0",
        "parameters.speed was 1.0 and is 1",
    ]
