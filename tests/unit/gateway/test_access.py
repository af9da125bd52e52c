"""Access: a request is authorised before anything is looked up, and tenants share nothing."""

import asyncio
import os
import signal
import threading
from pathlib import Path

import pytest

from sayonce.config import load_settings
from sayonce.errors import ConfigError, Unauthorized
from sayonce.gateway.access import Access, Client, load_access, new_key
from sayonce.gateway.app import rereading
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak


@pytest.fixture
def keys(tmp_path):
    """Keys of two tenants and of an operator, and the file that admits them."""
    made = {name: new_key(name, admin=name == "operator") for name in ("school", "bank", "operator")}
    path = tmp_path / "keys.txt"
    path.write_text("# who may ask\n\n" + "\n".join(line for _, line in made.values()))
    return {name: {"authorization": f"Bearer {key}"} for name, (key, _) in made.items()} | {"file": str(path)}


@pytest.fixture
async def engine():
    return StubEngine()


@pytest.fixture
async def client(engine, keys):
    async with serving(engine, security__api_keys_file=keys["file"]) as client:
        yield client


async def test_a_hit_is_not_served_without_credentials(client, keys):
    assert (await speak(client, headers=keys["school"])).status_code == 200
    for headers in (None, {"authorization": "Bearer wrong"}, {"authorization": keys["school"]["authorization"][7:]}):
        answer = await speak(client, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_tenant_never_hits_anothers_clip(client, engine, keys):
    await speak(client, headers=keys["school"])
    answer = await speak(client, headers=keys["bank"])
    assert answer.headers["cache-status"] == "sayonce; fwd=miss; stored"
    assert len(engine.calls) == 2


async def test_the_tenant_is_never_taken_from_the_body(client, keys):
    answer = await speak(client, headers=keys["bank"], tenant="school")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tenant")


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/cache/stats"), ("POST", "/v1/cache/purge")])
async def test_administration_needs_the_admin_right(client, keys, method, path):
    body = {"all": True} if method == "POST" else None
    assert (await client.request(method, path, json=body)).status_code == 401
    assert (await client.request(method, path, json=body, headers=keys["school"])).status_code == 403
    assert (await client.request(method, path, json=body, headers=keys["operator"])).status_code == 200


async def test_explain_tells_a_tenant_nothing_of_another(client, keys):
    await speak(client, "The bank's secret.", headers=keys["bank"])
    asked = {"model": "stub", "voice": "anna", "input": "The bank's secrets."}
    answer = await client.post("/v1/cache/explain", json=asked, headers=keys["school"])
    assert answer.json()["nearest"] is None
    assert "bank" not in answer.text.replace("The bank's secrets.", "")


async def test_the_health_route_needs_no_key(client):
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/health/ready")).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_without_keys_only_loopback_is_served(host):
    settings = load_settings(environment={}, overrides={"server.host": host})
    with pytest.raises(ConfigError, match="new-key"):
        load_access(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_clients_on_loopback_need_no_keys(host):
    assert load_access(load_settings(environment={}, overrides={"server.host": host})).open


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds no key"),
        ("school", "line 1"),
        ("# fine\nschool:abc", "line 2"),
        ("school:" + "0" * 64 + ":owner", "line 1"),
        (":" + "0" * 64, "line 1"),
        ("sch\u200bool:" + "0" * 64, "line 1: a tenant's name"),
        ("school :" + "0" * 64, "line 1: a tenant's name"),
        (f"school:{'0' * 64}\nshop:{'1' * 64}\nbank:{'0' * 64}", "line 3: the key of line 1 again"),
        (f"school:{'ab' * 32}\nschool:{'AB' * 32}:admin", "line 2: the key of line 1 again"),
        (f"school:{'0' * 64}\ncaf\u00e9:{'1' * 64}".encode("latin-1"), "line 2: byte 4 is not UTF-8"),
        (f"school:{'0' * 64}\n".encode("utf-16"), "line 1: byte 1 is not UTF-8"),
    ],
)
def test_a_malformed_key_file_is_named_with_its_line(tmp_path, content, told):
    path = tmp_path / "keys.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=told):
        load_access(load_settings(environment={}, overrides={"security.api_keys_file": str(path)}))


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_part_of_a_tenants_name(tmp_path):
    path = tmp_path / "keys.txt"
    key, line = new_key("caf\u00e9")
    path.write_bytes(f"\ufeff{line}\r\n# more to come\r\n".encode())
    access = load_access(load_settings(environment={}, overrides={"security.api_keys_file": str(path)}))
    assert access.authorise([(b"authorization", b"bearer " + key.encode())]).tenant == "caf\u00e9"


@pytest.mark.parametrize("scheme", ["Basic", "Token", "Bearer:", "", "Digest Bearer"])
def test_another_scheme_than_bearer_is_refused_though_the_key_is_right(tmp_path, scheme):
    path = tmp_path / "keys.txt"
    key, line = new_key("school")
    path.write_text(line)
    access = load_access(load_settings(environment={}, overrides={"security.api_keys_file": str(path)}))
    for header in (f"{scheme} {key}", key, f"{scheme}{key}"):
        with pytest.raises(Unauthorized):
            access.authorise([(b"authorization", header.encode())])
    with pytest.raises(Unauthorized, match="once"):
        access.authorise([(b"authorization", f"Bearer {each}".encode()) for each in (key, "another")])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/audio/speech"), ("GET", "/v1/models"), ("GET", "/v1/audio/voices"), ("POST", "/v1/audio/voices"),
        ("DELETE", "/v1/audio/voices/anna"), ("GET", "/v1/cache/stats"), ("POST", "/v1/cache/purge"), ("GET", "/metrics"),
        ("POST", "/v1/cache/explain"), ("GET", "/v1/cache/ledger"), ("GET", "/v1/cache/overview"),
        ("GET", "/v1/cache/clips/" + "0" * 64),
    ],
)  # fmt: skip
async def test_every_401_says_by_which_scheme_to_authenticate(client, method, path):
    for headers in ({}, {"authorization": "Basic dXNlcjpwYXNz"}, {"authorization": "Bearer wrong"}):
        answer = await client.request(method, path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["error"]["code"] == "invalid_api_key"


async def test_keys_are_read_again_and_a_broken_file_of_keys_changes_nothing(client, keys, caplog):
    path = Path(keys["file"])
    lines = path.read_text()
    key, line = new_key("late")
    late = {"authorization": f"Bearer {key}"}
    path.write_text("not a key\n")
    client.access.reload()
    assert "line 1" in caplog.text
    assert (await speak(client, headers=keys["school"])).status_code == 200
    path.write_text(line)
    client.access.reload()
    assert (await speak(client, headers=keys["school"])).status_code == 401
    assert (await speak(client, headers=late)).status_code == 200
    path.write_text(lines)


class LookedUp(dict):
    """A table that nobody goes through from one end to the other."""

    __iter__ = items = keys = values = None


async def test_checking_a_key_costs_the_same_however_many_keys_there_are(client, keys):
    """Otherwise each request, with or without a key, would cost the others more time with each further tenant."""
    client.access._clients = LookedUp(client.access._clients)
    assert (await speak(client, headers=keys["school"])).status_code == 200
    assert (await speak(client, headers={"authorization": "Bearer wrong"})).status_code == 401


async def test_requests_go_on_while_many_keys_are_read_again():
    loop, began, end = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def read():
        loop.call_soon_threadsafe(began.set)
        assert end.wait(20)

    with rereading(read):
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(began.wait(), 20)
        end.set()


def test_the_file_of_keys_holds_no_key_that_could_be_used():
    key, line = new_key("school")
    assert key not in line
    assert key.startswith("so-")
    assert len(key) == len("so-") + 43  # 256 bits in Base64


@pytest.fixture
def admitted(tmp_path):
    """A key, and access by it alone."""
    key, line = new_key("school")
    path = tmp_path / "keys.txt"
    path.write_text(line)
    return key.encode(), Access(str(path))


@pytest.mark.parametrize("form", [b"Bearer %s", b"bearer %s ", b"BEARER   %s", b" %s"])
def test_spaces_around_a_key_and_the_case_of_its_scheme_do_not_matter(admitted, form):
    key, access = admitted
    name = b"api-key" if form == b" %s" else b"authorization"
    assert access.authorise([(b"accept", b"audio/mpeg"), (name, form % key)]) == Client("school", admin=False)


def test_a_key_in_the_header_of_azures_clients_is_one_without_a_scheme(admitted):
    key, access = admitted
    assert access.authorise([(b"api-key", key)]).tenant == "school"
    with pytest.raises(Unauthorized, match="not valid"):
        access.authorise([(b"api-key", b"Bearer " + key)])


def test_a_refusal_says_whether_the_key_is_missing_or_sent_several_times(admitted):
    key, access = admitted
    with pytest.raises(Unauthorized, match=r"with each request$"):
        access.authorise([])
    with pytest.raises(Unauthorized, match=r"once, not several times$"):
        access.authorise([(b"api-key", key), (b"authorization", b"Bearer " + key)])


def test_lists_need_a_key_unless_they_are_made_public(admitted, tmp_path):
    key, access = admitted
    with pytest.raises(Unauthorized):
        access.authorise_reader([])
    public = Access(str(tmp_path / "keys.txt"), public_lists=True)
    assert public.authorise_reader([]) is None
    assert public.authorise_reader([(b"authorization", b" Bearer ")]) is None
    assert public.authorise_reader([(b"api-key", b"")]) is None
    assert public.authorise_reader([(b"authorization", b"Bearer " + key)]) == Client("school")
    with pytest.raises(Unauthorized):
        public.authorise_reader([(b"authorization", b"Bearer wrong")])


def test_without_keys_each_client_is_the_one_tenant_with_every_right(caplog):
    caplog.set_level("INFO", logger="sayonce.gateway")
    access = load_access(load_settings(environment={}))
    access.reload()  # nothing to read
    assert [(each.name, each.levelname) for each in caplog.records] == [("sayonce.gateway", "INFO")]
    assert access.authorise([]) == access.authorise_admin([]) == Client("", admin=True)
    assert Access(public_lists=True).authorise_reader([]) == Client("", admin=True)


def test_no_request_can_give_its_client_a_right(admitted):
    key, access = admitted
    client = access.authorise([(b"api-key", key)])
    assert client.admin is False
    assert Client() == Client("", admin=False)
    with pytest.raises(AttributeError):
        client.admin = True


def test_without_keys_no_web_page_of_any_origin_is_served(tmp_path):
    anywhere = {"server.cors_origins": "*"}
    with pytest.raises(ConfigError, match="every web page"):
        load_access(load_settings(environment={}, overrides=anywhere))
    (tmp_path / "keys.txt").write_text(new_key("school")[1])
    keyed = anywhere | {"security.api_keys_file": str(tmp_path / "keys.txt")}
    assert not load_access(load_settings(environment={}, overrides=keyed)).open


@pytest.mark.parametrize("public", [True, False])
def test_the_setting_of_public_lists_holds(tmp_path, public):
    (tmp_path / "keys.txt").write_text(new_key("school")[1])
    chosen = {"security.api_keys_file": str(tmp_path / "keys.txt"), "server.public_lists": str(public).lower()}
    access = load_access(load_settings(environment={}, overrides=chosen))
    if public:
        assert access.authorise_reader([]) is None
    else:
        with pytest.raises(Unauthorized):
            access.authorise_reader([])


def test_a_file_of_keys_that_cannot_be_read_is_named_with_its_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"^security\.api_keys_file"):
        Access(str(tmp_path / "missing"))


@pytest.mark.parametrize("tenant", ["", "a:b", "#school", " school", "school ", "sch\nool"])
def test_no_key_is_made_for_a_tenant_that_cannot_stand_in_the_file(tenant):
    with pytest.raises(ConfigError, match="a tenant's name is not empty"):
        new_key(tenant)


def test_a_tenants_name_may_hold_all_but_a_colon_and_a_leading_hash(tmp_path):
    (tmp_path / "keys.txt").write_text("\n".join(new_key(name)[1] for name in ("a#b", "X", "caf\u00e9 X")))
    assert {each.tenant for each in Access(str(tmp_path / "keys.txt"))._clients.values()} == {"a#b", "X", "caf\u00e9 X"}
