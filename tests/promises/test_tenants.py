"""Two tenants: each sees and touches its own alone; the right ``admin`` is the operator's, over all of them."""

import base64

import pytest

from sayonce.audio import voice as hearing
from sayonce.gateway.access import new_key
from tests.helpers.serving import serving, speak
from tests.helpers.stub_engines import Cloner
from tests.helpers.uploaded_voices import reference, upload

PUBLIC = {"/health/live", "/health/ready", "/", "/dashboard/{name}", "/openapi.json", "/docs"}
"""Tell nothing of what anybody asked for."""
OPERATOR = {
    ("GET", "/v1/cache/stats"),
    ("GET", "/v1/cache/overview"),
    ("GET", "/v1/cache/clips/{key}"),
    ("GET", "/v1/cache/ledger"),
    ("GET", "/metrics"),
    ("POST", "/v1/cache/purge"),
}
OWN = {
    ("POST", "/v1/audio/speech"),
    ("GET", "/v1/models"),  # the engines, which are everybody's
    ("GET", "/v1/models/{id}"),
    ("GET", "/v1/audio/models"),
    ("POST", "/v1/cache/explain"),
    ("GET", "/v1/audio/voices"),
    ("POST", "/v1/audio/voices"),
    ("DELETE", "/v1/audio/voices/{name}"),
}


@pytest.fixture
def keys(tmp_path):
    made = {name: new_key(name, admin=name == "operator") for name in ("school", "bank", "operator")}
    (tmp_path / "keys.txt").write_text("\n".join(line for _, line in made.values()))
    return {name: {"authorization": f"Bearer {key}"} for name, (key, _) in made.items()}


@pytest.fixture
async def client(keys, tmp_path):
    async with serving(Cloner(), security__api_keys_file=str(tmp_path / "keys.txt")) as client:
        yield client


async def names(client, headers):
    listed = (await client.get("/v1/audio/voices", headers=headers)).json()["data"]
    return [voice["name"] for voice in listed if voice.get("created")]


async def test_every_route_is_public_the_operators_or_a_tenants_own(client, keys):
    routes = {
        (method, route.path.replace(":path}", "}"))
        for route in client.gateway._others.routes
        for method in route.methods - {"HEAD"}
    }
    assert {each for each in routes if each[1] not in PUBLIC} == OPERATOR | OWN
    for method, path in OPERATOR | OWN:
        assert (await client.request(method, path.format(key="00" * 32, name="ann", id="stub"))).status_code == 401


@pytest.mark.parametrize(("method", "path"), sorted(OPERATOR))
async def test_a_route_of_the_operators_is_refused_to_every_tenant(client, keys, method, path):
    made = await speak(client, headers=keys["school"])
    path = path.format(key=made.headers["x-sayonce-key"])
    body = {"key": made.headers["x-sayonce-key"]} if method == "POST" else None
    for tenant in ("school", "bank"):
        assert (await client.request(method, path, json=body, headers=keys[tenant])).status_code == 403
    assert "; hit" in (await speak(client, headers=keys["school"])).headers["cache-status"]


async def test_the_operator_sees_hears_and_purges_what_every_tenant_has(client, keys):
    operator = keys["operator"]
    made = {tenant: await speak(client, headers=keys[tenant]) for tenant in ("school", "bank")}
    for tenant in made:
        await speak(client, headers=keys[tenant])
    shown = (await client.get("/v1/cache/overview", headers=operator)).json()
    assert {each["key"] for each in shown["clips"]} == {each.headers["x-sayonce-key"] for each in made.values()}
    for answer in made.values():
        key = answer.headers["x-sayonce-key"]
        heard = await client.get(f"/v1/cache/clips/{key}", params={"format": "wav"}, headers=operator)
        assert heard.status_code == 200
    purged = await client.post("/v1/cache/purge", json={"tag": "tenant=school"}, headers=operator)
    assert purged.status_code == 200
    assert "fwd=miss" in (await speak(client, headers=keys["school"])).headers["cache-status"]
    assert "; hit" in (await speak(client, headers=keys["bank"])).headers["cache-status"]


async def test_a_tenant_lists_replaces_and_removes_its_own_voices_alone(client, keys):
    school, bank = keys["school"], keys["bank"]
    made = (await upload(client, "ann", reference(1), headers=school)).json()["id"]
    assert (await names(client, school), await names(client, bank)) == (["ann"], [])
    for voice in ("ann", made):
        assert (await speak(client, voice=voice, headers=bank)).status_code == 404
    assert (await client.delete("/v1/audio/voices/ann", headers=bank)).status_code == 404
    await upload(client, "ann", reference(2), headers=bank)
    assert (await client.delete("/v1/audio/voices/ann", headers=bank)).status_code == 200
    assert (await names(client, school), await names(client, bank)) == (["ann"], [])
    assert (await speak(client, voice="ann", headers=school)).status_code == 200


async def test_no_tenant_finds_out_by_the_time_of_an_answer_that_another_has_sent_a_reference(
    client, keys, monkeypatch
):
    opened, genuine = [], hearing._identify
    monkeypatch.setattr(hearing, "_identify", lambda *given: opened.append(1) or genuine(*given))
    sent = base64.b64encode(reference(5)).decode()
    assert (await upload(client, "eve", reference(5), headers=keys["school"])).status_code == 201
    for tenant, times in (("school", 1), ("bank", 2), ("bank", 2)):
        await speak(client, "Who sent this?", headers=keys[tenant], ref_audio=sent)
        assert len(opened) == times, tenant


async def test_explain_tells_a_tenant_of_its_own_clips_and_voices_alone(client, keys):
    school, bank = keys["school"], keys["bank"]
    for headers in (school, bank):
        await upload(client, "ann", headers=headers)
    await speak(client, "What the school says.", voice="ann", headers=school)
    asked = {"model": "stub", "voice": "ann", "input": "What the school says.", "response_format": "wav"}
    for headers, tier in ((school, "memory"), (bank, None)):
        told = (await client.post("/v1/cache/explain", json=asked, headers=headers)).json()
        assert told["stored"] == {"take": tier, "clip": tier}
    near = await client.post("/v1/cache/explain", json=asked | {"input": "What the school said."}, headers=bank)
    assert near.json()["nearest"] is None
    other = {"request": asked, "other": asked | {"input": "Else."}}
    told = (await client.post("/v1/cache/explain", json=other, headers=bank)).json()
    assert (told["document"]["tenant"], told["stored"]["take"]) == ("bank", None)


async def test_the_same_request_of_two_tenants_is_computed_for_each(client, keys):
    for tenant in ("school", "bank"):
        for voice in ("anna", "ann"):
            await upload(client, "ann", headers=keys[tenant])
            answer = await speak(client, voice=voice, headers=keys[tenant])
            assert "fwd=miss" in answer.headers["cache-status"]
