"""Voices of references: by name or sent along, and always their content."""

import asyncio
import base64
import threading

import pytest

from sayonce.audio.voice import Voice
from sayonce.cache import Cache
from sayonce.cache.sealed_table import SealedTable
from sayonce.errors import EngineError, NotFound, StoreError
from sayonce.gateway.access import new_key
from sayonce.speech.engines import Reference
from sayonce.speech.voice_names import NamedVoice
from sayonce.speech.voices import UploadedVoices
from sayonce.testing import FaultyStore, StubEngine
from tests.helpers.serving import serving, speak
from tests.helpers.stub_engines import Cloner
from tests.helpers.uploaded_voices import reference, upload


@pytest.fixture
async def engine():
    return Cloner()


@pytest.fixture
async def client(engine, tmp_path):
    async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db") as client:
        yield client


async def test_an_uploaded_voice_speaks_by_its_name(client, engine):
    made = await upload(client)
    assert (made.status_code, made.json()["name"], len(made.json()["id"])) == (201, "alice", 64)
    one = await speak(client, voice="alice")
    assert one.headers["cache-status"] == "sayonce; fwd=miss; stored"
    assert engine.calls[0].reference.audio == reference()
    assert (await speak(client, voice="alice")).headers["cache-status"].startswith("sayonce; hit")


@pytest.mark.parametrize(("seconds", "told"), [(0.1, "only 0.1 s long"), (2.0, "silent")])
async def test_an_upload_that_makes_no_good_voice_is_answered_with_a_warning(client, seconds, told):
    from sayonce.audio.pcm import Pcm
    from tests.helpers.audio_samples import made_by_sndfile, murmur

    sound = murmur(seconds) if told != "silent" else Pcm(bytes(96_000), 24_000, 1, 48_000)
    made = await upload(client, audio=made_by_sndfile(sound, "WAV", "PCM_16"))
    assert made.status_code == 201
    assert told in made.json()["warning"]
    assert "warning" not in (await upload(client, "good", made_by_sndfile(murmur(1.5), "WAV", "PCM_16"))).json()


async def test_a_voice_of_the_same_name_with_other_content_is_another_voice_at_once(client):
    await upload(client)
    old = await speak(client, voice="alice", response_format="pcm")
    await upload(client, audio=reference(seed=2))
    new = await speak(client, voice="alice", response_format="pcm")
    assert new.headers["cache-status"] == "sayonce; fwd=miss; stored"
    assert new.content != old.content


@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF"])
async def test_the_same_samples_are_the_same_voice_under_any_name_and_in_any_container(client, engine, container):
    await upload(client)
    await speak(client, voice="alice")
    same = await upload(client, "bob", reference(container=container))
    assert same.json()["id"] == (await upload(client)).json()["id"]
    assert (await speak(client, voice="bob")).headers["cache-status"].startswith("sayonce; hit")
    assert len(engine.calls) == 1


async def test_the_transcript_of_the_reference_is_part_of_the_key(client):
    await upload(client, ref_text="one two")
    await speak(client, voice="alice")
    await upload(client, ref_text="one too")
    assert (await speak(client, voice="alice")).headers["cache-status"] == "sayonce; fwd=miss; stored"


@pytest.mark.parametrize("form", ["base64", "data URL"])
async def test_a_reference_that_is_sent_along_is_the_same_voice_as_when_it_is_uploaded(client, form):
    await upload(client)
    await speak(client, voice="alice")
    audio = base64.b64encode(reference(container="FLAC")).decode()
    audio = audio if form == "base64" else f"data:audio/flac;base64,{audio}"
    assert (await speak(client, voice=None, ref_audio=audio)).headers["cache-status"].startswith("sayonce; hit")


@pytest.mark.parametrize(
    "address", ["https://example.org/a.wav", "file:///tmp/a.wav", "/tmp/a.wav", "a.wav", "data:,x!"]
)
async def test_a_reference_given_as_an_address_is_refused_as_its_content_may_change(client, engine, address):
    answer = await speak(client, ref_audio=address)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "ref_audio")
    assert engine.calls == []


@pytest.mark.parametrize("audio", [b"", b"not audio", reference()[:30], reference(seconds=700)])
async def test_a_reference_that_is_no_reference_is_refused_by_name(client, audio):
    answer = await upload(client, audio=audio)
    assert (answer.status_code in (400, 413), answer.json()["error"]["param"]) == (
        True,
        "audio_sample" if len(audio) < 10**7 else None,
    )
    assert (await client.get("/v1/audio/voices")).json()["data"][0]["id"] == "anna"


@pytest.mark.parametrize("name", ["", " a", "a/b", "../x", "a" * 65, "anna", "x\ny"])
async def test_a_name_that_cannot_be_used_is_refused(client, name):
    answer = await upload(client, name)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")


async def test_an_upload_that_is_no_form_says_what_is_wanted(client):
    answer = await client.post("/v1/audio/voices", json={"name": "alice"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = await client.post("/v1/audio/voices", content=b"zzz", headers={"content-type": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter")
        assert "the form cannot be read" in answer.text
    answer = await client.post("/v1/audio/voices", files={"name": (None, "alice")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "audio_sample")


async def test_a_deleted_voice_is_gone(client):
    await upload(client)
    assert (await client.delete("/v1/audio/voices/alice")).json()["deleted"] is True
    assert (await speak(client, voice="alice")).status_code == 404
    again = await client.delete("/v1/audio/voices/alice")
    assert (again.status_code, again.json()["error"]["param"]) == (404, "name")


async def test_the_list_of_voices_is_made_anew_only_when_a_name_has_changed(client, monkeypatch):
    """A thousand names take the event loop some milliseconds."""
    made, honest = [], client.service.synthesizer.voices.of
    monkeypatch.setattr(client.service.synthesizer.voices, "of", lambda tenant: made.append(tenant) or honest(tenant))

    async def names():
        return [voice["id"] for voice in (await client.get("/v1/audio/voices")).json()["data"] if "ref_text" in voice]

    alice, bob = (await upload(client)).json()["id"], (await upload(client, "bob", reference(2))).json()["id"]
    for _ in range(3):
        assert await names() == [alice, bob]
    assert made == [""]
    await client.delete("/v1/audio/voices/alice")
    assert await names() == [bob]


async def test_voices_survive_a_restart_and_are_listed(engine, tmp_path):
    store = f"sqlite:///{tmp_path}/clips.db"
    async with serving(engine, store=store, store__budget_ms=2000) as client:
        await upload(client)
        await speak(client, voice="alice")
    async with serving(engine, store=store, store__budget_ms=2000) as client:
        assert [voice["name"] for voice in (await client.get("/v1/audio/voices")).json()["data"]][:1] == ["alice"]
        assert (await speak(client, voice="alice")).headers["cache-status"] == "sayonce; hit; detail=sqlite"
        assert (await speak(client, "Something new.", voice="alice")).status_code == 200


async def test_a_voice_uploaded_at_one_instance_speaks_at_the_other_at_once(valkey):
    async with serving(Cloner(), store=valkey.url) as one, serving(Cloner(), store=valkey.url) as other:
        await upload(one)
        assert (await speak(other, voice="alice")).status_code == 200


@pytest.fixture
def tenants(tmp_path):
    """The headers of two tenants; their file of keys is ``keys.txt``."""
    made = [new_key(name) for name in ("school", "bank")]
    (tmp_path / "keys.txt").write_text("\n".join(line for _, line in made))
    return [{"authorization": f"Bearer {key}"} for key, _ in made]


async def test_a_tenant_has_voices_of_its_own(tmp_path, tenants):
    school, bank = tenants
    async with serving(Cloner(), security__api_keys_file=str(tmp_path / "keys.txt")) as client:
        await upload(client, headers=school)
        assert (await speak(client, voice="alice", headers=school)).status_code == 200
        assert (await speak(client, voice="alice", headers=bank)).status_code == 404


async def test_a_swapped_reference_in_the_store_is_never_spoken_with(client):
    store = client.service.cache.store
    for name, seed in (("alice", 1), ("bob", 2)):
        await upload(client, name, reference(seed))
    names = client.service.synthesizer.voices.names
    addresses = [names.table.field("", names.record("", name).address) for name in ("alice", "bob")]
    await store.write_field("voice clips", addresses[0], await store.read_field("voice clips", addresses[1]))
    answer = await speak(client, voice="alice")
    assert (answer.status_code, "upload it again" in answer.text) == (404, True)


async def test_an_engine_that_does_not_clone_refuses_a_reference_and_says_so(tmp_path):
    async with serving(StubEngine()) as client:
        answer = await speak(client, ref_audio=base64.b64encode(reference()).decode())
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "ref_audio")


async def test_a_voice_is_found_by_its_name_or_id_as_a_string_or_an_object(client, engine):
    made = (await upload(client, ref_text="one two")).json()
    keys = set()
    for voice in ("alice", {"id": "alice"}, made["id"], {"id": made["id"]}):
        answer = await speak(client, voice=voice)
        assert answer.status_code == 200, answer.text
        keys.add(answer.headers["x-sayonce-key"])
    assert len(keys) == len(engine.calls) == 1
    assert engine.calls[0].reference.text == "one two"


async def test_a_reference_that_is_sent_along_speaks_whatever_voice_is_named(client, engine):
    await upload(client, audio=reference(seed=2))
    for voice in ("alice", "anna", None):
        await speak(client, voice=voice, ref_audio=base64.b64encode(reference()).decode())
    assert [call.reference.audio for call in engine.calls] == [reference()]


async def test_a_long_reference_that_is_sent_along_delays_nobody(client, monkeypatch):
    looking, others_were_answered = threading.Event(), threading.Event()

    def slow(audio, **more):
        looking.set()
        assert others_were_answered.wait(10)
        return identify(audio, **more)

    identify = Voice.from_audio
    monkeypatch.setattr(Voice, "from_audio", slow)
    waiting = asyncio.create_task(speak(client, ref_audio=base64.b64encode(reference()).decode()))
    await asyncio.to_thread(looking.wait, 10)
    assert (await speak(client, voice="anna")).status_code == 200
    others_were_answered.set()
    assert (await waiting).status_code == 200


@pytest.mark.parametrize(("voice", "ref_text"), [("anna", "one"), ("anna", 5), ("alice", ["one"])])
async def test_a_transcript_without_a_reference_is_refused_and_not_dropped(client, engine, voice, ref_text):
    await upload(client)
    answer = await speak(client, voice=voice, ref_text=ref_text)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "ref_text")
    assert engine.calls == []


# -- uploaded voices --------------------------------------------------------------------------------------------


class Late(FaultyStore):
    """Reads the names just before they change, and answers after that."""

    def __init__(self):
        super().__init__()
        self.held = False
        self.readings = 0
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def read_table(self, table):
        names = await super().read_table(table)
        self.readings += 1
        if self.held:
            self.held = False
            self.has_read.set()
            await self.may_answer.wait()
        return names

    async def _read_first(self):
        self.held = True
        self.reading = asyncio.create_task(self.voices.refresh())
        await self.has_read.wait()

    async def answer(self):
        self.may_answer.set()
        await self.reading

    @property
    def bytes_in_tables(self):
        return sum(len(value) for table in self._tables.values() for value in table.values())


class LateAtUpload(Late):
    async def swap_field(self, table, name, old, new):
        if table == "voices":
            await self._read_first()
        swapped = await super().swap_field(table, name, old, new)
        self.may_answer.set()  # the reading ends behind the change that it has not seen
        return swapped


class LateAtRemoval(LateAtUpload):
    """Reads the names before the second change, which is the removal."""

    changes = 0

    async def _read_first(self):
        self.changes += 1
        if self.changes == 2:
            await super()._read_first()


def voices_over(store, **options):
    store.voices = UploadedVoices(Cache(store, budget_seconds=60, **options))
    return store.voices


def to_fetch(voice):
    return Reference(voice.id, address=voice.address)


async def test_a_table_of_names_read_before_an_upload_does_not_undo_the_upload():
    store = LateAtUpload()
    voices = voices_over(store)
    await voices.add("", "alice", reference(), "")
    await store.answer()
    assert voices.names.record("", "alice") is not None


async def test_a_table_of_names_read_before_a_removal_does_not_undo_the_removal():
    store = LateAtRemoval()
    voices = voices_over(store)
    await voices.add("", "alice", reference(), "")
    await voices.remove("", "alice")
    await store.answer()
    assert "alice" not in [voice.name for voice in voices.of("")]


async def test_a_list_of_voices_is_never_older_than_its_request():
    store = Late()
    here, elsewhere = voices_over(store), UploadedVoices(Cache(store))
    await store._read_first()
    store.voices = here
    asked_before = store.reading
    await elsewhere.add("", "alice", reference(), "")
    asked_after = asyncio.create_task(here.refresh())
    await asyncio.sleep(0)
    store.may_answer.set()
    await asyncio.gather(asked_before, asked_after)
    assert here.names.record("", "alice") is not None


async def test_requests_for_the_names_during_a_reading_share_the_next_reading():
    store = Late()
    voices = voices_over(store)
    await store._read_first()
    asking = [asyncio.create_task(voices.refresh()) for _ in range(50)]
    await asyncio.sleep(0)
    await store.answer()
    await asyncio.gather(*asking)
    assert store.readings == 2


async def test_references_that_no_name_has_any_more_take_no_space():
    store = Late()
    voices = voices_over(store)
    for seed in range(5):
        await voices.add("", "alice", reference(seed), "")
    assert store.bytes_in_tables < 2 * len(reference())
    await voices.add("", "bob", reference(4), "")
    await voices.remove("", "alice")
    assert (await voices.fetch_audio("", to_fetch(voices.names.record("", "bob")))).audio == reference(4)
    await voices.remove("", "bob")
    assert await store.read_table("voice clips") == {}


async def test_the_voices_of_all_tenants_together_take_so_much_at_most(tmp_path, tenants):
    school, bank = tenants
    room = len(reference()) + len(reference(seconds=0.5)) + len("täglich".encode())
    options = {"store": f"sqlite:///{tmp_path}/clips.db", "security__api_keys_file": str(tmp_path / "keys.txt")}
    async with serving(Cloner(), **options, voices__max_bytes=room) as client:
        assert (await upload(client, headers=school)).status_code == 201
        refused = await upload(client, audio=reference(2), headers=bank)
        assert (refused.status_code, refused.json()["error"]["param"]) == (413, "audio_sample")
        assert "voices.max_bytes" in refused.json()["error"]["message"]
        short = reference(3, seconds=0.5)
        assert (await upload(client, audio=short, ref_text="alltäglich", headers=bank)).status_code == 413
        assert (await upload(client, audio=short, ref_text="täglich", headers=bank)).status_code == 201
        assert (await upload(client, audio=reference(4), headers=school)).status_code == 201  # in place of the first
    async with serving(Cloner(), **options, voices__max_bytes=room) as client:  # also after a restart
        assert (await upload(client, "bob", short, headers=bank)).status_code == 413
        await client.delete("/v1/audio/voices/alice", headers=school)
        assert (await upload(client, "bob", short, headers=bank)).status_code == 201


async def test_each_namespace_has_its_own_uploaded_voices():
    store = Late()
    one, other = voices_over(store, namespace="one"), voices_over(store, namespace="other")
    await one.add("", "alice", reference(1), "")
    await other.add("", "alice", reference(2), "")
    await one.refresh()
    assert one.names.record("", "alice").id != other.names.record("", "alice").id
    await other.remove("", "alice")
    await one.refresh()
    assert one.names.record("", "alice") is not None
    assert not any(name.startswith("refused") for name in one._cache.counters)


async def test_no_tenants_reference_file_stands_in_for_anothers():
    """Files of the same samples have the same id; what another decoder makes of them may differ."""
    store = Late()
    voices = voices_over(store)
    mine, theirs = reference(), reference() + b"LIST\x04\0\0\0evil"
    voice, _ = await voices.add("school", "alice", mine, "")
    their_voice, _ = await voices.add("bank", "alice", theirs, "")
    assert their_voice.id == voice.id
    afresh = voices_over(store)
    assert (await afresh.fetch_audio("school", to_fetch(voice))).audio == mine
    assert (await afresh.fetch_audio("bank", to_fetch(their_voice))).audio == theirs
    with pytest.raises(NotFound):
        await afresh.fetch_audio("school", to_fetch(their_voice))


@pytest.mark.parametrize("deleted", [False, True])
async def test_the_file_that_was_uploaded_last_under_a_name_is_handed_on(client, engine, deleted):
    """An engine that cannot read one container may be able to read another of the same samples."""
    first = await upload(client, audio=reference(container="FLAC"))
    await speak(client, "one", voice="alice")
    await upload(client, "bob", reference(container="AIFF"))
    if deleted:
        await client.delete("/v1/audio/voices/alice")
    assert (await upload(client)).json()["id"] == first.json()["id"]
    for text, voice in (("two", "alice"), ("three", "bob")):
        await speak(client, text, voice=voice)
    heard = [call.reference.audio for call in engine.calls]
    assert heard == [reference(container="FLAC"), reference(), reference(container="AIFF")]


async def test_the_reference_of_a_voice_that_an_earlier_release_kept_is_still_found():
    store = Late()
    voices = voices_over(store)
    field = voices.names.table.field("", "id")
    await store.write_field("voice clips", field, SealedTable(voices._cache, "voice clips").seal(field, reference()))
    await voices.names.write("", NamedVoice("alice", "id", "", 1.0, 0.0))
    assert (await voices.fetch_audio("", to_fetch(voices.names.record("", "alice")))).audio == reference()
    await voices.add("", "alice", reference(), "")
    assert list(await store.read_table("voice clips")) != [field]
    assert len(await store.read_table("voice clips")) == 1


@pytest.mark.parametrize("fault", ["hang", StoreError("down")])
async def test_a_store_that_keeps_a_reference_to_itself_is_an_error_within_the_budget(fault):
    store = Late()
    cache = Cache(store, budget_seconds=0.02)
    voice, _ = await UploadedVoices(cache).add("", "alice", reference(), "")
    store.fault = fault
    with pytest.raises(EngineError, match="the store does not answer"):
        await asyncio.wait_for(UploadedVoices(cache).fetch_audio("", to_fetch(voice)), 5)


async def test_a_reference_that_is_lost_is_told_from_a_store_that_is_down():
    with pytest.raises(NotFound, match="upload it again"):
        await UploadedVoices(Cache(Late())).fetch_audio("", Reference("0" * 64, address="0" * 64))


async def test_a_lost_reference_that_is_uploaded_again_speaks_at_once(client):
    await upload(client)
    client.service.synthesizer.voices._audio.clear()
    store = client.service.cache.store
    for field in await store.read_table("voice clips"):
        await store.remove_field("voice clips", field)
    assert (await speak(client, voice="alice")).status_code == 404
    await upload(client)
    assert (await speak(client, voice="alice")).status_code == 200
