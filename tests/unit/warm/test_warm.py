"""Clips made ahead: what is read from files, what is made, and what is told of it."""

import asyncio
import codecs
import time

import pytest

from sayonce.config import load_settings
from sayonce.errors import ConfigError, EngineBusy, EngineError
from sayonce.service import Service
from sayonce.testing import StubEngine
from sayonce.warm.features import VoiceTarget, references_in
from sayonce.warm.gateway import GatewayTarget
from sayonce.warm.rows import Row, expand, most_common, read_rows
from sayonce.warm.runner import NOT_KEPT, Pace, Warmer
from sayonce.warm.store import StoreTarget
from tests.helpers.serving import serving, speak
from tests.helpers.upstream import Upstream, raw_upstream
from tests.helpers.voice_samples import SAMPLES, reference

TEXTS = [f"Phrase number {number}." for number in range(20)]


def rows_of(*texts, **fields):
    return [Row(f"phrases.txt:{number}", {"input": text, **fields}) for number, text in enumerate(texts, 1)]


def read(content, kind):
    content = content if isinstance(content, bytes) else content.encode()
    return [(row.place, row.fields | row.cells, row.error) for row in read_rows(content, "file", kind)]


@pytest.fixture
def engine():
    return StubEngine(chunks=1)


@pytest.fixture
def make_service(tmp_path):
    def make(*engines, clock=time.time, **overrides):
        names = {name.replace("__", "."): value for name, value in overrides.items()}
        url = f"sqlite:///{tmp_path / 'clips.db'}"
        return Service(load_settings(environment={}, overrides={"store.url": url, **names}), engines, clock=clock)

    return make


async def warm(service, rows, *, tenant="", concurrency=4, **options):
    async with service.cache:
        target = StoreTarget(service.synthesizer, tenant)
        return await Warmer(target, concurrency=concurrency, **options).run(rows)


def figures(summary):
    return summary.computed, summary.already_there, summary.failed


# -- what is read -------------------------------------------------------------------------------------------------------


def test_every_line_of_a_txt_file_that_is_not_empty_is_a_text():
    assert read("Hello.\r\n\n#1 in the queue\n  two\u2028parts\n", "txt") == [
        ("file:1", {"input": "Hello."}, None),
        ("file:3", {"input": "#1 in the queue"}, None),
        ("file:4", {"input": "two\u2028parts"}, None),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_text():
    assert read(codecs.BOM_UTF8 + b"Hello.", "txt") == [("file:1", {"input": "Hello."}, None)]


def test_utf_16_with_its_mark_is_read_and_told():
    for encoding in ("utf-16-le", "utf-16-be"):
        told = []
        content = "\ufeff您好。\r\nHello.\r\n".encode(encoding)
        found = read_rows(content, "file", "txt", told.append)
        assert [row.text for row in found] == ["您好。", "Hello."]
        assert told == ["UTF-16"]
    with pytest.raises(ConfigError, match="cut or damaged"):
        read(codecs.BOM_UTF16_LE + b"a", "txt")
    with pytest.raises(ConfigError, match="has NUL bytes"):
        read("Hello.".encode("utf-16-le"), "txt")


@pytest.mark.parametrize("encoding", ["gbk", "gb18030"])
def test_chinese_as_excel_saves_it_is_read_and_told(encoding):
    told = []
    table = '文本,音色,语速,pitch\r\n您好,xiaoyi,1.2,3\r\n"请稍等,谢谢",,,\r\n验证码四七一一,,,\r\n'
    found = list(read_rows(table.encode(encoding), "file", "csv", told.append))
    assert told == ["GB18030"]
    assert [row.fields | row.cells for row in found] == [
        {"input": "您好", "voice": "xiaoyi", "speed": "1.2", "pitch": "3"},
        {"input": "请稍等,谢谢"},
        {"input": "验证码四七一一"},
    ]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Ação, não são você. Ça été très élevé à Noël.", "latin-1"),
        ("Grüße aus München, schöne Straße.", "cp1252"),
        ("안녕하세요. 잠시만 기다려 주세요. 주문하신 상품이 발송되었습니다.", "euc-kr"),
        ("こんにちは。少々お待ちください。ご注文の商品は発送されました。", "euc-jp"),
        ("こんにちは。少々お待ちください。ご注文の商品は発送されました。", "shift-jis"),
        ("您好,請稍等。訂單已發貨,預計明天送達。", "big5"),
        ("Здравствуйте, подождите пожалуйста. Ваш заказ отправлен.", "koi8-r"),
        ("Здравствуйте, подождите пожалуйста. Ваш заказ отправлен.", "cp1251"),
        ("สวัสดีครับ กรุณารอสักครู่", "tis-620"),
    ],
)
def test_another_encoding_is_not_taken_for_chinese(text, encoding):
    told = []
    [row] = read_rows(text.encode(encoding), "file", "txt", told.append)
    assert (row.error, told) == ("is not UTF-8", [])


def test_columns_are_known_by_the_names_that_tables_have():
    for header in ("Text,Voice", "TEXT,VOICE", "文字,音色", "台词,声音", "內容,發音人"):
        assert read(f"{header}\nHi.,ben\n", "csv") == [("file:2", {"input": "Hi.", "voice": "ben"}, None)]


def test_user_and_instructions_are_texts_in_a_table_of_phrases_whatever_they_look_like():
    assert read("text,user,instructions\nHi.,1234,true\n", "csv") == [
        ("file:2", {"input": "Hi.", "user": "1234", "instructions": "true"}, None)
    ]


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
def test_a_line_that_is_not_utf_8_is_named_and_the_others_are_read(kind):
    lines = {"txt": (b"", b"a", b"caf\xe9", b"b"), "csv": (b"text\n", b"a", b"caf\xe9", b"b")}
    lines["jsonl"] = (b"", b'{"input":"a"}', b'{"input":"caf\xe9"}', b'{"input":"b"}')
    head, *rest = lines[kind]
    first, bad, last = read(head + b"\n".join(rest), kind)
    assert (first[1], bad[1], last[1]) == ({"input": "a"}, {}, {"input": "b"})
    assert bad[0] == f"file:{2 + (kind == 'csv')}"
    assert "UTF-8" in bad[2] or "JSON" in bad[2]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_phrases_has_a_text_and_any_field_of_a_request(delimiter):
    table = 'text,voice,speed\nHi.,ben,1.5\n"Two\nlines",,\n,,\n'.replace(",", delimiter)
    assert read(table, "csv") == [
        ("file:2", {"input": "Hi.", "voice": "ben", "speed": "1.5"}, None),
        ("file:4", {"input": "Two\nlines"}, None),
    ]


def test_a_bad_record_of_a_table_is_named_and_the_others_are_read():
    found = read('text,voice\n"a"b,ben\nc,ben,extra\nd,ben\n', "csv")
    assert [(place, error is None) for place, _, error in found] == [
        ("file:2", False),
        ("file:3", False),
        ("file:4", True),
    ]


@pytest.mark.parametrize(
    ("content", "message"), [("a,b\n1,2\n", "no column"), ("", "no column"), ("text,input\n", "twice")]
)
def test_a_table_without_texts_is_refused(content, message):
    with pytest.raises(ConfigError, match=message):
        read(content, "csv")


def test_a_line_of_jsonl_is_a_whole_request_to_warm():
    found = read('{"input": "Hi.", "speed": 1.5}\n\n[1]\n{"input"\n', "jsonl")
    assert found[0] == ("file:1", {"input": "Hi.", "speed": 1.5}, None)
    assert [place for place, _, error in found if error] == ["file:3", "file:4"]


def test_every_voice_of_warm_says_rows_without_a_voice_and_a_rows_own_fields_win():
    rows = [Row("1", {"input": "a"}), Row("2", {"input": "b", "voice": "eve", "speed": 1}), Row("3", error="bad")]
    rows.append(Row("4", {"input": "d", "speaker": "eve"}))
    found = list(expand(rows, ["anna", "ben"], {"response_format": "wav"}, {"speed": "2", "seed": "3"}))
    assert [(row.place, row.fields.get("voice"), row.cells) for row in found] == [
        ("1", "anna", {"speed": "2", "seed": "3"}),
        ("1", "ben", {"speed": "2", "seed": "3"}),
        ("2", "eve", {"seed": "3"}),
        ("3", None, {"speed": "2", "seed": "3"}),
        ("4", None, {"speed": "2", "seed": "3"}),
    ]
    assert found[3].error == "bad"


def test_the_most_common_logged_requests_are_taken_once_each_and_bad_rows_stay():
    asked = ["a", "b", "c", "b", "a", "b", "d"]
    rows = [*rows_of(*asked), Row("x:1", {"input": "a"}, {"speed": "2"}), Row("x:2", error="bad")]
    assert [row.place for row in most_common(rows, 2)] == ["phrases.txt:2", "phrases.txt:1", "x:2"]
    assert len(most_common(rows, 100)) == 6
    mixed = [
        Row("1", {"input": "a", "speed": 1}),
        Row("2", {"speed": 1, "input": "a"}),
        Row("3", {"input": "a", "speed": 1.0}),
    ]
    assert [row.place for row in most_common(mixed, 5)] == ["1", "3"]


# -- what is made in a store --------------------------------------------------------------------------------------------


async def test_warm_synthesizes_each_text_once_however_often_it_is_listed_and_by_however_many_runs(
    make_service, engine
):
    rows = rows_of(*TEXTS, *TEXTS[:5])
    assert figures(await warm(make_service(engine), rows, concurrency=8)) == (20, 5, 0)
    assert figures(await warm(make_service(engine), rows, concurrency=8)) == (0, 25, 0)
    assert len(engine.calls) == 20


async def test_a_warmed_clip_is_a_hit_for_the_gateways_clients(make_service, engine, tmp_path):
    await warm(make_service(engine), rows_of("Hello there."))
    async with serving(engine, store=f"sqlite:///{tmp_path / 'clips.db'}") as client:
        for audio_format in ("wav", "mp3", "flac"):
            answer = await speak(client, response_format=audio_format)
            assert answer.headers["cache-status"].startswith("sayonce; hit"), audio_format
    assert len(engine.calls) == 1


async def test_a_format_that_takes_time_is_made_ahead_too(make_service, engine):
    await warm(make_service(engine), rows_of("Hello there."))
    service = make_service(engine)
    assert figures(await warm(service, rows_of("Hello there.", response_format="mp3"))) == (0, 1, 0)
    service = make_service(engine)
    async with service.cache as cache:
        plan = service.synthesizer.plan(
            service.synthesizer.parse({"input": "Hello there.", "voice": "anna", "response_format": "mp3"})
        )
        assert await cache.find(plan.clip_key) is not None


async def test_bad_rows_are_named_with_their_line_and_stop_nothing(make_service, engine):
    rows = [
        Row("a.csv:2", {"input": "Good."}, {"speed": "1.5", "emotion": "happy"}),
        Row("a.csv:3", {"input": "x" * 200}, {"speed": "fast"}),
        Row("a.csv:4", {"input": "Who?", "voice": "nobody"}),
        Row("a.csv:5", {"input": "Which?", "model": ["x"]}, {"speed": "1"}),
        Row("a.csv:6", error="is not UTF-8"),
        Row("a.csv:7", {"input": "Good too."}),
    ]
    summary = await warm(make_service(engine), rows, concurrency=1)
    assert figures(summary) == (2, 0, 4)
    assert [failure.place for failure in summary.failures] == ["a.csv:3", "a.csv:4", "a.csv:5", "a.csv:6"]
    assert "'speed' must be a number" in summary.failures[0].reason
    assert len(summary.failures[0].text) == 60
    assert engine.calls[0].parameters == {"speed": 1.5, "emotion": "happy", "trace_id": ""}


async def test_an_engine_that_fails_fails_its_rows_and_they_are_made_the_next_time(make_service, engine):
    engine.failure = EngineError("out of memory")
    summary = await warm(make_service(engine), rows_of("One.", "Two."))
    assert figures(summary) == (0, 0, 2)
    assert summary.failures[0].reason == "out of memory"
    engine.failure = None
    assert figures(await warm(make_service(engine), rows_of("One.", "Two."))) == (2, 0, 0)


async def test_clips_belong_to_the_tenant_they_were_made_for(make_service, engine):
    await warm(make_service(engine), rows_of("One."), tenant="acme")
    assert figures(await warm(make_service(engine), rows_of("One."), tenant="acme")) == (0, 1, 0)
    assert figures(await warm(make_service(engine), rows_of("One."))) == (1, 0, 0)


async def test_a_clip_that_the_store_did_not_keep_is_not_told_as_done(make_service, engine):
    summary = await warm(make_service(engine, store__max_bytes="1kB"), rows_of(*TEXTS[:3]))
    assert figures(summary) == (0, 0, 3)
    assert {failure.reason for failure in summary.failures} == {NOT_KEPT}


async def test_a_store_that_does_not_answer_fails_rows_instead_of_paying_for_them(make_service, engine, tmp_path):
    service = make_service(engine)
    async with service.cache as cache:
        assert cache.store is not None
        (tmp_path / "clips.db").write_bytes(b"no database" * 1000)
        for suffix in ("-wal", "-shm"):
            tmp_path.joinpath(f"clips.db{suffix}").unlink(missing_ok=True)
        await cache.store.close()
        summary = await Warmer(StoreTarget(service.synthesizer), concurrency=1).run(rows_of(*TEXTS))
    assert summary.failed == 20
    assert len(engine.calls) <= 5  # until the breaker opens


# -- made anew ----------------------------------------------------------------------------------------------------------


async def kept(service, text, audio_format="flac"):
    """Return when what is stored for a text was made, in one format."""
    async with service.cache as cache:
        fields = {"input": text, "voice": "anna", "response_format": audio_format}
        plan = service.synthesizer.plan(service.synthesizer.parse(fields))
        found = await cache.find(plan.take_key if audio_format == "flac" else plan.clip_key)
        return None if found is None else found.created


async def renew(service, rows, since):
    async with service.cache:
        return await Warmer(StoreTarget(service.synthesizer, since=since), concurrency=4).run(rows)


async def test_refreshing_makes_older_clips_anew_once_for_every_format(make_service, engine):
    rows = [*rows_of(*TEXTS[:4], voice="anna"), *rows_of(*TEXTS[:4], voice="anna", response_format="mp3")]
    await warm(make_service(engine), rows)
    assert len(engine.calls) == 4
    before = await kept(make_service(engine), TEXTS[0])
    assert figures(await renew(make_service(engine), rows, before - 1)) == (0, 8, 0)
    since = max([await kept(make_service(engine), text) for text in TEXTS[:4]]) + 0.001
    while time.time() <= since:
        await asyncio.sleep(0.001)
    await warm(make_service(engine), rows_of(TEXTS[4], voice="anna"))
    mixed = [row for both in zip(rows[:4], rows[4:], rows[:4], strict=True) for row in both]
    without_memory = make_service(engine, memory__max_bytes="0")  # as on the command line: the store may be behind
    summary = await renew(without_memory, [*rows_of(TEXTS[4], voice="anna"), *mixed], since)
    assert summary.failed == 0
    assert [call.text for call in engine.calls].count(TEXTS[4]) == 1
    assert all([call.text for call in engine.calls].count(text) == 2 for text in TEXTS[:4])
    for audio_format in ("flac", "mp3"):
        assert await kept(make_service(engine), TEXTS[0], audio_format) >= since


async def test_a_gateway_is_asked_to_make_older_clips_anew(engine):
    async with serving(engine) as client:
        of_each = (rows_of(text, voice="anna", response_format=kind) for text in TEXTS[:3] for kind in ("flac", "mp3"))
        rows = [row for [row] in of_each]
        client.service.cache._road._clock = lambda: time.time() - 1000
        await through(client, rows)
        client.service.cache._road._clock = time.time
        assert len(engine.calls) == 3

        async def renewed(age_seconds):
            target = GatewayTarget(client, since=time.time() - age_seconds)
            return figures(await Warmer(target, concurrency=4).run(rows))

        assert await renewed(2000) == (0, 6, 0)
        assert await renewed(500) == (3, 3, 0)
        assert len(engine.calls) == 6
        for audio_format in ("flac", "mp3"):
            assert int((await speak(client, TEXTS[0], response_format=audio_format)).headers["age"]) < 500


async def test_stale_clips_are_made_anew(make_service, engine, clock):
    rows = [*rows_of(*TEXTS[:2], voice="anna"), *rows_of(*TEXTS[:2], voice="anna", response_format="mp3")]
    assert figures(await warm(make_service(engine, store__stale="7d", clock=clock), rows, concurrency=1)) == (2, 2, 0)
    clock.advance(86_400)
    assert figures(await warm(make_service(engine, store__stale="7d", clock=clock), rows, concurrency=1)) == (2, 2, 0)
    assert len(engine.calls) == 4
    assert figures(await warm(make_service(engine, store__stale="7d", clock=clock), rows)) == (0, 4, 0)


async def test_a_gateway_is_asked_to_make_stale_clips_anew(engine, clock):
    async with serving(engine, clock=clock, store__stale="7d") as client:
        rows = rows_of(*TEXTS[:3], voice="anna", response_format="mp3")
        for _ in range(2):
            assert figures(await through(client, rows)) == (3, 0, 0)
            assert figures(await through(client, rows)) == (0, 3, 0)
            clock.advance(86_400)
        assert len(engine.calls) == 6


# -- stopping, pace, patience -------------------------------------------------------------------------------------------


async def test_a_stopped_warm_run_finishes_what_it_began_and_begins_nothing_more(make_service):
    engine = StubEngine(chunks=2)
    engine.gate.clear()
    service = make_service(engine)
    async with service.cache:
        warmer = Warmer(StoreTarget(service.synthesizer), concurrency=3)
        running = asyncio.create_task(warmer.run(rows_of(*TEXTS)))
        while len(engine.calls) < 3:
            await asyncio.sleep(0)
        warmer.stop()
        engine.gate.set()
        summary = await running
    assert figures(summary) == (3, 0, 0)
    assert summary.interrupted
    assert figures(await warm(make_service(engine), rows_of(*TEXTS))) == (17, 3, 0)
    assert len(engine.calls) == 20


async def test_the_pace_of_warm_lets_one_synthesis_begin_in_each_interval():
    slept = []

    async def sleep(seconds):
        slept.append(round(seconds, 3))

    pace = Pace(4, sleep)
    for now in (100.0, 100.0, 100.0, 101.0, 101.1):
        await pace.turn(now)
    assert slept == [0.25, 0.5, 0.15]


async def test_clips_that_are_stored_take_no_turn_of_the_pace(make_service, engine):
    await warm(make_service(engine), rows_of(*TEXTS))
    async with asyncio.timeout(5):
        assert figures(await warm(make_service(engine), rows_of(*TEXTS), per_second=0.01)) == (0, 20, 0)


async def test_warm_stops_while_it_waits_for_a_turn(make_service, engine):
    service = make_service(engine)
    async with service.cache, asyncio.timeout(5):
        warmer = Warmer(StoreTarget(service.synthesizer), concurrency=2, per_second=0.001)
        warmer._progress = warmer.stop
        summary = await warmer.run(rows_of(*TEXTS))
    assert (figures(summary), summary.interrupted) == ((1, 0, 0), True)


class BusyTarget:
    """Is too busy for the first ``times``."""

    def __init__(self, times):
        self.times = times
        self.asked = 0

    async def look(self, row):
        return self.make

    async def make(self):
        self.asked += 1
        if self.asked <= self.times:
            raise EngineBusy("too busy", retry_after_seconds=0)
        return True

    async def unkept(self):
        return []


async def test_a_busy_engine_is_asked_again_but_not_for_ever():
    assert figures(await Warmer(BusyTarget(9), concurrency=1).run(rows_of("One."))) == (1, 0, 0)
    target = BusyTarget(1000)
    assert figures(await Warmer(target, concurrency=1).run(rows_of("One."))) == (0, 0, 1)
    assert target.asked == 10


# -- through a gateway --------------------------------------------------------------------------------------------------


async def through(client, rows, **options):
    return await Warmer(GatewayTarget(client), concurrency=4, **options).run(rows)


async def test_warm_by_a_gateway_makes_each_text_once(engine):
    async with serving(engine) as client:
        rows = rows_of(*TEXTS, voice="anna")
        assert figures(await through(client, rows)) == (20, 0, 0)
        assert figures(await through(client, rows)) == (0, 20, 0)
        assert len(engine.calls) == 20
        hit = await speak(client, TEXTS[0])
        assert hit.headers["cache-status"].startswith("sayonce; hit")


async def test_a_gateways_refusals_and_failures_are_told_row_by_row(engine):
    async with serving(engine) as client:
        rows = [*rows_of("Good."), Row("a.csv:2", {"input": "Bad."}, {"speed": "99"}), Row("a.csv:3", {"input": ""})]
        summary = await through(client, rows)
        assert figures(summary) == (1, 0, 2)
        assert "'speed' must be between" in next(f.reason for f in summary.failures if f.place == "a.csv:2")
        engine.failure, engine.fails_at = EngineError("out of memory"), 0
        assert (await through(client, rows_of("Another."))).failures[0].reason == "out of memory"


async def test_warm_counts_a_clip_that_breaks_off_as_a_failure(make_service):
    engine = StubEngine(chunks=4)
    engine.failure, engine.fails_at = EngineError("out of memory"), 3
    async with serving(engine) as client:
        summary = await through(client, rows_of("Hello.", response_format="pcm"))
    assert figures(summary) == (0, 0, 1)
    assert "did not answer whole" in summary.failures[0].reason


async def test_warm_waits_for_a_gateway_whose_queue_is_full(engine):
    answer = b'{"error": {"message": "busy", "code": "engine_busy"}}'
    head = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: %d\r\n\r\n" % len(answer)
    async with raw_upstream(head + answer) as url, serving(engine) as client:
        client.base_url = url.removesuffix("/v1")
        with pytest.raises(EngineBusy, match="busy") as busy:
            await GatewayTarget(client).look(rows_of("Hello.")[0])
    assert busy.value.retry_after_seconds == 7


async def test_a_server_that_is_no_sayonce_gateway_is_not_taken_for_one_that_has_every_clip(engine):
    with Upstream() as upstream:
        async with serving(engine) as client:
            client.base_url = upstream.url.removesuffix("/v1")
            summary = await through(client, rows_of("Hello."))
    assert "no Sayonce gateway" in summary.failures[0].reason


# -- voices -------------------------------------------------------------------------------------------------------------


async def test_each_voice_is_encoded_once_whatever_its_files_are_called(tmp_path):
    import sayonce

    clips = tmp_path / "clips"
    (clips / "more").mkdir(parents=True)
    (clips / "a.wav").write_bytes(reference())
    (clips / "copy.wav").write_bytes(reference())
    (clips / "more" / "same.flac").write_bytes(reference(container="FLAC"))
    (clips / "other.wav").write_bytes(reference(SAMPLES[::-1].copy()))
    (clips / "broken.wav").write_bytes(b"RIFF")
    (clips / "notes.txt").write_text("not a clip")
    runs = []

    async def once():
        async with sayonce.open(f"sqlite:///{tmp_path / 'features.db'}", memory_bytes=0) as cache:

            @cache.remember("encoder", revision="1", audio=("clip",))
            def encode(clip: str) -> bytes:
                runs.append(clip)
                return b"features"

            return await Warmer(VoiceTarget(cache, encode), concurrency=3).run(references_in(clips))

    first, second = await once(), await once()
    assert figures(first) == (2, 2, 1)
    assert figures(second) == (0, 4, 1)
    assert first.failures[0].place.endswith("broken.wav")
    assert len(runs) == 2


def test_a_directory_without_references_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no audio file"):
        list(references_in(tmp_path))
