"""Texts stay private: nothing that is stored or logged holds one."""

import logging

from sayonce.audio.formats import FORMATS
from sayonce.gateway.access import new_key
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak

TEXT = "The launch code is nought nought seven."
SPELLINGS = [TEXT.encode(), TEXT.encode("utf-16-le"), TEXT.encode().hex().encode(), b"launch"]


def told_by(directory):
    """Everything that is in the files below a directory, and in their names."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return b"".join(str(path).encode() + path.read_bytes() for path in files)


async def test_no_text_is_in_the_store_the_bodies_or_the_clips(tmp_path):
    options = {"bodies__url": f"file://{tmp_path}/bodies", "bodies__inline_max_bytes": "0"}
    (tmp_path / "bodies").mkdir()
    async with serving(StubEngine(), store=f"sqlite:///{tmp_path}/clips.db", **options) as client:
        clips = [(await speak(client, TEXT, response_format=each)).content for each in FORMATS]
        await client.service.cache.settle()
    kept = told_by(tmp_path)
    assert len(kept) > 50_000
    for spelling in SPELLINGS:
        assert spelling not in kept
        assert not any(spelling in clip for clip in clips)


async def test_no_text_is_in_redis(valkey):
    async with serving(StubEngine(), store=valkey.url) as client:
        await speak(client, TEXT, response_format="mp3")
        await client.service.cache.settle()
        with valkey.client() as server:
            names = server.keys()
            kept = b"".join(names) + b"".join(server.dump(name) for name in names)
    assert len(names) >= 2
    assert not any(spelling in kept for spelling in SPELLINGS)


async def test_neither_texts_nor_keys_are_in_any_librarys_debug_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    key, line = new_key("acme")
    (tmp_path / "keys").write_text(line)
    store = f"sqlite:///{tmp_path}/clips.db"
    async with serving(StubEngine(), store=store, security__api_keys_file=str(tmp_path / "keys")) as client:
        caplog.clear()
        for _ in range(2):
            assert (await speak(client, TEXT, headers={"Authorization": f"Bearer {key}"})).status_code == 200
            await client.service.cache.settle()
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpcore"))
    assert "sayonce.request" in {record.name for record in caplog.records}
    assert "launch" not in ours
    assert key not in ours


async def test_bodies_in_a_bucket_are_for_nobody_else(bucket, tmp_path):
    store = f"sqlite:///{tmp_path}/clips.db"
    async with serving(StubEngine(), store=store, bodies__url=bucket.url, bodies__inline_max_bytes="0") as client:
        await speak(client, TEXT)
        await client.service.cache.settle()
    [listed] = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    grants = bucket.client.get_object_acl(Bucket=bucket.name, Key=listed["Key"])["Grants"]
    assert [grant["Permission"] for grant in grants] == ["FULL_CONTROL"]
    assert "URI" not in grants[0]["Grantee"]  # no group, such as AllUsers
    assert b"launch" not in listed["Key"].encode()
