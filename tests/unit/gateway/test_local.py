"""Without API keys: this machine alone is answered, and a web page from elsewhere can neither read, change nor spend."""

import asyncio
import json

import httpx
import pytest
import pytest_asyncio

from sayonce.config import load_settings
from sayonce.errors import ConfigError, Forbidden, InvalidRequest
from sayonce.gateway.access import new_key
from sayonce.gateway.local import PAGES, LocalOnly
from sayonce.testing import StubEngine
from tests.helpers.browser import chromium
from tests.helpers.serving import serving, speak

SPEECH = {"model": "stub", "input": "Hello there.", "voice": "anna", "response_format": "wav"}


def asked(*headers, method="POST", path="/v1/audio/speech", version="1.1"):
    fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return {"headers": fields, "method": method, "path": path, "http_version": version}


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1", "127.8.8.8:80", "[::1]", "[::1]:9", "tts.example.com", "TTS.example.com.:443"],
)  # fmt: skip
def test_this_machine_is_answered_under_each_of_its_names(host):
    LocalOnly(["tts.Example.com"]).check(asked(("host", host)))
    LocalOnly(["tts.example.com"]).check(asked(("host", host), ("origin", f"http://{host}")))


@pytest.mark.parametrize(
    "host",
    ["evil.com", "localhost.evil.com", "evil.localhost", "127.0.0.1.evil.com", "0.0.0.0", "[::]", "192.168.1.2", "10.0.0.1:80",
     "[::ffff:10.0.0.1]", "[fe80::1]", "", ":8080", "localhost:8080:80", "evil.com@localhost", "localhost@evil.com", "localhost/",
     "localhost#", "localhost evil.com", "127.0.0.1, evil.com", "2130706433", "0x7f.1", "127.1", "[::1", "::1", "localhost..",
     "localhost.", "127.0.0.1.", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]:8080", "[::127.0.0.1]", "127.0.0.01",
     "l\xf6calhost", "128.0.0.1", "126.255.255.255", "example.com", "xtts.example.com", "tts.example.com.evil.com"],
)  # fmt: skip
def test_every_other_host_is_refused_so_that_dns_rebinding_reaches_nothing(host):
    local = LocalOnly(["tts.example.com"])
    for _ in range(2):
        with pytest.raises(Forbidden) as told:
            local.check(asked(("host", host)))
        assert told.value.param == "Host"
        with pytest.raises(Forbidden) as told:
            local.check(asked(("host", "localhost"), ("origin", f"https://{host}")))
        assert told.value.param == "Origin"


@pytest.mark.parametrize("hosts", [[], ["localhost", "localhost"], ["localhost", "127.0.0.1"]])
def test_a_request_has_exactly_one_host(hosts):
    with pytest.raises(InvalidRequest):
        LocalOnly().check(asked(*(("host", host) for host in hosts)))
    with pytest.raises(Forbidden):
        LocalOnly().check(asked(*(("host", host) for host in hosts), ("host", "evil.com")))


def test_a_program_of_http_1_0_may_leave_the_host_out():
    LocalOnly().check(asked(version="1.0"))


@pytest.mark.parametrize(
    "origin", ["null", "", "file://", "chrome-extension://abc", "http://", "ftp://localhost", "http://localhost/x"]
)
def test_every_origin_but_the_servers_own_is_refused(origin):
    with pytest.raises(Forbidden):
        LocalOnly().check(asked(("host", "localhost"), ("origin", origin)))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "somewhere"])
def test_requests_from_another_site_are_refused_but_for_a_link_to_a_page(site):
    local, host, fetch = LocalOnly(), ("host", "localhost"), ("sec-fetch-site", site)
    link = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"))
    for path in PAGES:
        local.check(asked(host, fetch, *link, method="GET", path=path))
    refused = [
        asked(host, fetch),
        asked(host, fetch, ("origin", "http://127.0.0.2:8000")),
        asked(host, fetch, *link, method="POST", path="/"),
        asked(host, fetch, *link, method="GET", path="/v1/cache/stats"),
        asked(host, fetch, method="GET", path="/"),
        asked(host, fetch, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe"), method="GET", path="/"),
        asked(host, fetch, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image"), method="GET", path="/"),
    ]
    for scope in refused:
        with pytest.raises(Forbidden):
            local.check(scope)


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_requests_of_the_servers_own_pages_and_typed_addresses_are_answered(site):
    LocalOnly().check(asked(("host", "localhost:8080"), ("origin", "http://localhost:8080"), ("sec-fetch-site", site)))


BROWSER = (
    "user-agent",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
)


@pytest.mark.parametrize("host", ["tts.example.com", "tts.example.com:8000", "localhost:8000"])
def test_a_browser_that_does_not_say_which_page_asks_only_reaches_pages(host):
    """To plain http under a name that it does not trust a browser sends neither Sec-Fetch-Site nor, for GET, Origin."""
    local, named = LocalOnly(["tts.example.com"]), ("host", host)
    for path in PAGES:
        local.check(asked(named, BROWSER, method="GET", path=path))
    for page in (f"http://{host}/", f"http://{host}/docs"):
        local.check(asked(named, BROWSER, ("referer", page), method="GET", path="/v1/cache/overview"))
    local.check(asked(named, BROWSER, ("origin", f"http://{host}")))
    local.check(asked(named, ("user-agent", "curl/8.14"), method="GET", path="/v1/models"))
    for page in (
        None,
        "",
        "null",
        "http://evil.com/",
        "http://localhost:9999/",
        f"http://evil.com/http://{host}/",
        f"http://{host}.evil.com/",
    ):
        headers = [] if page is None else [("referer", page)]
        for method, path in (
            ("GET", "/v1/cache/overview"),
            ("GET", "/v1/cache/clips/00"),
            ("POST", "/"),
            ("POST", "/v1/audio/voices"),
        ):
            with pytest.raises(Forbidden) as told:
                local.check(asked(named, BROWSER, *headers, method=method, path=path))
            assert told.value.param == "Referer"
    with pytest.raises(Forbidden):  # another origin of this machine
        local.check(asked(named, BROWSER, ("origin", "http://localhost:9999"), ("referer", f"http://{host}/")))


def test_an_origin_that_may_ask_may_ask_from_another_site():
    local = LocalOnly(origins=["https://app.example.com"])
    local.check(asked(("host", "localhost"), ("origin", "https://app.example.com"), ("sec-fetch-site", "cross-site")))
    local.check(asked(("host", "localhost"), ("origin", "https://app.example.com"), BROWSER))
    with pytest.raises(Forbidden):
        local.check(asked(("host", "localhost"), ("origin", "https://app.example.com.evil.com")))
    with pytest.raises(Forbidden):
        local.check(asked(("host", "localhost"), ("sec-fetch-site", "cross-site")))


@pytest.mark.parametrize(
    "wrong", ["https://tts.example.com", "tts.example.com:443", "tts.example.com/x", "*", ".example.com"]
)
def test_an_allowed_host_is_a_name_alone(wrong):
    with pytest.raises(ConfigError, match="allowed_hosts"):
        load_settings(environment={"SAYONCE_SERVER__ALLOWED_HOSTS": wrong})


def test_allowed_hosts_come_from_the_environment_with_commas():
    server = load_settings(environment={"SAYONCE_SERVER__ALLOWED_HOSTS": "a.example, b.example"}).server
    assert server.hosts == ("a.example", "b.example")


# -- over HTTP ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def client():
    async with serving(StubEngine(), server__allowed_hosts="tts.example.com") as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/v1/models", "/health/ready", "/metrics", "/v1/cache/stats", "/openapi.json"]
)
async def test_no_path_is_answered_under_a_foreign_host_name(client, path):
    answer = await client.get(path, headers={"host": "evil.com"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (403, "Host")
    assert "server.allowed_hosts" in answer.text
    assert (await client.get(path, headers={"host": "tts.example.com"})).status_code == 200


async def test_a_foreign_name_in_an_absolute_target_is_refused_as_in_host(client):
    for target in ("http://evil.com/v1/models", "http://evil.com:80/v1/models"):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 403 ")
        writer.close()


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/cache/purge", "/v1/cache/explain"])
@pytest.mark.parametrize(
    "declared",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", ""],
)  # fmt: skip
async def test_a_json_body_must_say_that_it_is_json(client, path, declared):
    headers = {} if declared is None else {"content-type": declared}
    answer = await client.post(path, content=json.dumps(SPEECH), headers=headers)
    assert answer.status_code == 415
    assert answer.json()["error"]["param"] == "Content-Type"
    assert "Content-Type: application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "declared",
    ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.example+json"],
)
async def test_a_body_with_any_json_media_type_is_taken(client, declared):
    answer = await client.post("/v1/audio/speech", content=json.dumps(SPEECH), headers={"content-type": declared})
    assert answer.status_code == 200


async def test_with_keys_requests_are_allowed_by_key_whatever_their_host_origin_or_media_type(tmp_path):
    key, line = new_key("school")
    (tmp_path / "keys").write_text(line)
    async with serving(StubEngine(), security__api_keys_file=str(tmp_path / "keys")) as client:
        client.headers["authorization"] = f"Bearer {key}"
        elsewhere = {"host": "tts.example.org", "origin": "https://evil.com", "sec-fetch-site": "cross-site"}
        assert (await speak(client, headers=elsewhere)).status_code == 200
        assert (await client.post("/v1/audio/speech", content=json.dumps(SPEECH))).status_code == 200


# -- in a browser -------------------------------------------------------------------------------------------------------


ATTACK = """
async ({target, speech}) => {
  const done = {};
  const attempt = async (name, work) => { try { done[name] = await work(); } catch (error) { done[name] = "failed"; } };
  const read = async (path, options) => { const answer = await fetch(target + path, options); return await answer.text(); };
  const blind = (path, body, headers) => fetch(target + path, {method: "POST", mode: "no-cors", body, headers}).then(() => "sent");
  const form = new FormData();
  form.set("name", "boss"); form.set("audio_sample", new Blob(["RIFF"]), "a.wav");
  await attempt("purge", () => blind("/v1/cache/purge", new Blob(['{"all": true}'])));
  await attempt("purge as text", () => blind("/v1/cache/purge", '{"all": true}'));
  await attempt("purge as json", () => blind("/v1/cache/purge", '{"all": true}', {"content-type": "application/json"}));
  await attempt("spend", () => blind("/v1/audio/speech", new Blob([speech])));
  await attempt("spend as text", () => blind("/v1/audio/speech", speech));
  await attempt("upload", () => blind("/v1/audio/voices", form));
  await attempt("beacon", () => String(navigator.sendBeacon(target + "/v1/audio/speech", new Blob([speech]))));
  await attempt("delete", () => read("/v1/audio/voices/anna", {method: "DELETE"}));
  await attempt("read", () => read("/v1/cache/stats"));
  await attempt("read page", () => read("/"));
  await attempt("read json", () => read("/v1/audio/speech", {method: "POST", body: speech, headers: {"content-type": "application/json"}}));
  const load = (tag, path) => new Promise(resolve => {
    const element = document.createElement(tag);
    element.onload = () => resolve("loaded"); element.onerror = () => resolve("failed");
    element.src = target + path; document.body.append(element);
  });
  await attempt("script", () => load("script", "/dashboard/dashboard.js"));
  await attempt("image", () => load("img", "/v1/cache/stats"));
  return done;
}
"""
FORMS = """
({target, speech}) => {
  for (const [path, type] of [["/v1/cache/purge", "text/plain"], ["/v1/audio/speech", "text/plain"], ["/v1/audio/voices", "multipart/form-data"]]) {
    const form = document.createElement("form"), frame = document.createElement("iframe"), field = document.createElement("input");
    frame.name = path; form.target = path; form.method = "POST"; form.action = target + path; form.enctype = type;
    field.name = '{"all": true, "x": "'; field.value = '"}'; form.append(field);
    document.body.append(frame, form); form.submit();
  }
}
"""


@pytest_asyncio.fixture
async def browser():
    async with chromium() as browser:
        yield browser


async def served_page(reader, writer):
    with_body = b"<!doctype html><title>elsewhere</title><body>hello</body>"
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(with_body), with_body)
        )


@pytest.mark.parametrize("elsewhere", ["127.0.0.2", "evil.localhost", "localhost", "127.0.0.1"])
async def test_from_a_web_page_on_another_origin_nothing_is_purged_uploaded_read_or_spent(browser, elsewhere):
    """Also from this machine's other ports: another server on this machine is another origin."""
    engine = StubEngine()
    async with serving(engine) as client, await asyncio.start_server(served_page, "0.0.0.0") as pages:
        await speak(client)
        calls, target = (
            len(engine.calls),
            {"target": f"http://127.0.0.1:{client.port}", "speech": json.dumps(SPEECH | {"input": "Spend."})},
        )
        if elsewhere == "localhost":
            target["target"] = f"http://localhost:{client.port}"
        page = await (await browser.new_context()).new_page()
        await page.goto(f"http://{elsewhere}:{pages.sockets[0].getsockname()[1]}/")
        done = await page.evaluate(ATTACK, target)
        await page.evaluate(FORMS, target)
        await page.wait_for_timeout(500)
        assert {done[name] for name in ("read", "read page", "read json", "script", "image", "delete")} == {"failed"}
        assert done["purge"] in ("sent", "failed")  # what a page may send it sends, and it learns nothing
        assert len(engine.calls) == calls
        assert (await speak(client)).headers["cache-status"].startswith("sayonce; hit")
        assert not [voice for voice in (await client.get("/v1/audio/voices")).json()["data"] if voice["id"] == "boss"]
        await page.goto(target["target"] + "/")  # but a link, or the user, leads to the dashboard
        await page.get_by_text("Sayonce").first.wait_for()
        pages.close()


BLIND = """
async (paths) => {
  const load = (tag, url, heard) => new Promise(resolve => {
    const element = document.createElement(tag);
    element[heard] = () => resolve("loaded"); element.onerror = () => resolve("failed");
    element.src = url; document.body.append(element);
  });
  const done = {};
  for (const url of paths) {
    for (const [tag, heard] of [["audio", "onloadedmetadata"], ["script", "onload"], ["img", "onload"]]) {
      done[tag + " " + url] = await load(tag, url, heard);
    }
    done["fetch " + url] = await fetch(url, {referrerPolicy: "no-referrer"}).then(answer => answer.text()).catch(() => "failed");
    await fetch(url, {mode: "no-cors"}).catch(() => "failed");
  }
  return done;
}
"""


@pytest.mark.parametrize("name", ["[::ffff:127.0.0.1]", "tts.example.com", "127.0.0.1"])
async def test_a_page_elsewhere_plays_and_detects_nothing_also_in_browsers_without_sec_fetch_site(name):
    """The key of a clip is no secret by itself: a page that could load one would know which texts were spoken."""
    async with (
        serving(StubEngine(), server__allowed_hosts="tts.example.com") as client,
        chromium("--host-resolver-rules=MAP *.example.com 127.0.0.1, MAP evil.com 127.0.0.1") as browser,
        await asyncio.start_server(served_page, "127.0.0.1") as pages,
    ):
        key = (await speak(client)).headers["x-sayonce-key"]
        paths = (f"/v1/cache/clips/{key}?format=wav", "/dashboard/dashboard.js", "/v1/models")
        asked = []
        client.gateway._local = Noting(client.gateway._local, asked)
        page = await (await browser.new_context()).new_page()
        await page.goto(f"http://evil.com:{pages.sockets[0].getsockname()[1]}/")
        done = await page.evaluate(BLIND, [f"http://{name}:{client.port}{path}" for path in paths])
        assert set(done.values()) == {"failed"}
        assert {told for _, told in asked} == {"refused"}
        pages.close()


class Noting:
    """Notes what was asked, and whether it was refused."""

    def __init__(self, local, asked):
        self._local, self._asked = local, asked

    def check(self, scope):
        self._asked.append((scope["path"], "refused"))
        self._local.check(scope)
        self._asked[-1] = (scope["path"], "answered")


async def test_the_dashboard_works_over_plain_http_under_an_allowed_name():
    async with (
        serving(StubEngine(), server__allowed_hosts="tts.example.com") as client,
        chromium("--host-resolver-rules=MAP tts.example.com 127.0.0.1") as browser,
    ):
        asked = []
        client.gateway._local = Noting(client.gateway._local, asked)
        page = await (await browser.new_context()).new_page()
        await page.goto(f"http://tts.example.com:{client.port}/")
        await page.get_by_text("Requests").first.wait_for()
        assert ("/v1/cache/overview", "answered") in asked
        assert not [path for path, told in asked if told == "refused" and path != "/favicon.ico"]


async def test_a_page_that_rebinds_its_name_to_this_server_reads_nothing():
    """DNS rebinding: the page's own origin is this server, and only the name tells."""
    async with serving(StubEngine()) as client, chromium() as browser:
        context = await browser.new_context()
        page = await context.new_page()
        rebound = f"http://rebound.example:{client.port}"

        async def lead_here(route):
            headers = await route.request.all_headers()
            async with httpx.AsyncClient(trust_env=False) as elsewhere:
                answer = await elsewhere.request(
                    route.request.method,
                    route.request.url.replace("rebound.example", "127.0.0.1"),
                    headers={**headers, "host": f"rebound.example:{client.port}"},
                    content=route.request.post_data_buffer,
                )
            await route.fulfill(status=answer.status_code, headers=dict(answer.headers), body=answer.content)

        await page.route(f"{rebound}/**", lead_here)
        answer = await page.goto(f"{rebound}/")
        assert answer.status == 403
        told = await page.evaluate("fetch('/v1/cache/purge', {method: 'POST', headers: {'content-type': 'application/json'},"
                                   " body: '{\"all\": true}'}).then(answer => answer.status)")  # fmt: skip
        assert told == 403
