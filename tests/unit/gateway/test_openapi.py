"""The description of the API is the API."""

import json
import re
from html.parser import HTMLParser

import msgspec
import pytest

from sayonce.audio.formats import FORMATS
from sayonce.config import load_settings
from sayonce.gateway import answers, openapi, refusals
from sayonce.gateway.access import Access
from sayonce.gateway.app import Gateway
from sayonce.gateway.openapi.rendering import render
from sayonce.gateway.paths import SPEECH
from sayonce.service import Service
from sayonce.testing import StubEngine
from tests.helpers.serving import serving, speak
from tests.helpers.voice_samples import reference

API = openapi.description()
OPERATIONS = [
    (path, method, operation) for path, methods in API["paths"].items() for method, operation in methods.items()
]


@pytest.fixture
def gateway():
    return Gateway(Service(load_settings(environment={}, overrides={"store.url": "memory://"})), Access())


def references(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_route_is_described_and_nothing_else(gateway):
    served = {
        (route.path.replace(":path}", "}"), method.lower())
        for route in gateway._others.routes
        for method in route.methods - {"HEAD"}
    }
    assert {(path, method) for path, method, _ in OPERATIONS} == served


async def test_the_description_is_made_once_as_anyone_may_ask_for_it_over_and_over(monkeypatch):
    """It takes the event loop many milliseconds, and needs no key."""
    made = []
    monkeypatch.setattr("sayonce.gateway.openapi.api.description", lambda: made.append(1) or API)
    for each in (openapi.document, openapi.page):
        each.cache_clear()
    async with serving(StubEngine()) as client:
        for _ in range(3):
            assert (await client.get("/openapi.json")).json() == API
            assert (await client.get("/docs")).text == render(API, openapi.everywhere())
    assert len(made) == 2


def test_every_reference_of_the_description_leads_somewhere():
    found = list(references(API))
    assert found
    for each in found:
        kind, name = each.removeprefix("#/components/").split("/")
        assert name in API["components"][kind], each


def test_every_component_of_the_description_is_used():
    used = set(references(API))
    for kind in ("schemas", "parameters", "responses"):
        unused = [name for name in API["components"][kind] if f"#/components/{kind}/{name}" not in used]
        assert unused == [], kind


def test_described_operations_have_unique_ids_and_summaries():
    assert len({operation["operationId"] for _, _, operation in OPERATIONS}) == len(OPERATIONS)
    assert all(operation["summary"] for _, _, operation in OPERATIONS)


def test_only_health_and_documents_are_open_to_strangers():
    assert API["security"] == [{"bearer": []}, {"header": []}]
    public = {path for path, _, operation in OPERATIONS if operation.get("security") == []}
    assert public == {"/health/live", "/health/ready", "/openapi.json", "/docs", "/", "/dashboard/{name}"}


def test_every_path_tells_of_what_is_refused_before_it_is_looked_at():
    """By the protocol; without API keys, for a foreign ``Host``; and where the server has a fault."""
    named = [each for each in vars(refusals).values() if isinstance(each, refusals.RequestRefusal)]
    of_settings = msgspec.structs.astuple(refusals.refusals_of(load_settings(environment={}).server))
    statuses = {str(each.status) for each in (*named, *of_settings)}
    assert statuses == {"400", "408", "414", "431", "503"}
    for path, _, operation in OPERATIONS:
        assert statuses | {"403", "500"} <= set(operation["responses"]), path


def test_the_right_admin_is_spoken_of_where_it_is_needed():
    needed = {path for path, _, operation in OPERATIONS if "the right `admin`" in operation.get("description", "")}
    assert needed == {
        "/v1/cache/stats", "/v1/cache/ledger", "/v1/cache/overview", "/v1/cache/clips/{key}", "/v1/cache/purge", "/metrics",
    }  # fmt: skip


def test_the_page_shows_once_what_every_path_may_answer():
    page = parsed(openapi.page()).text
    for status in openapi.everywhere():
        assert page.count(API["components"]["responses"][f"Error{status}"]["description"].partition("`")[0]) == 1


def test_the_api_description_offers_every_format():
    assert API["components"]["schemas"]["SpeechRequest"]["properties"]["response_format"]["enum"] == list(FORMATS)
    content = API["paths"][SPEECH]["post"]["responses"]["200"]["content"]
    assert {each.media_type for each in FORMATS.values()} < set(content)


async def answered(client):
    """Return an answer of every route that answers JSON, by method and path, with its status."""
    voice = {"files": {"audio_sample": ("clip.wav", reference())}, "data": {"name": "alice"}}
    spoken = await speak(client)
    request = {"model": "stub", "input": "Hello there.", "voice": "anna"}
    calls = [
        ("GET", "/v1/models", {}), ("GET", "/v1/models/stub", {}), ("GET", "/v1/audio/models", {}), ("POST", "/v1/audio/voices", voice), ("GET", "/v1/audio/voices", {}),
        ("DELETE", "/v1/audio/voices/alice", {}), ("GET", "/health/live", {}), ("GET", "/health/ready", {}),
        ("GET", "/v1/cache/stats", {}), ("GET", "/v1/cache/overview", {}),
        ("POST", "/v1/cache/explain", {"json": request}),
        ("POST", "/v1/cache/explain", {"json": {"request": request, "other": {**request, "speed": 2}}}),
        ("POST", "/v1/cache/purge", {"json": {"key": spoken.headers["x-sayonce-key"]}}),
        ("POST", "/v1/cache/purge", {"json": {"tag": "voice=anna"}}), ("POST", "/v1/cache/purge", {"json": {"all": True}}),
        ("POST", "/v1/audio/speech", {"json": {}}),
    ]  # fmt: skip
    for method, path, more in calls:
        yield method, path, await client.request(method, path, **more)


async def test_every_json_answer_is_what_is_described_and_nothing_else(tmp_path):
    """Each is read as the type that its route's schema is made from; what is left over, or missing, would differ."""
    types = {each.__name__: each for each in answers.ALL}
    cloner = StubEngine()
    cloner.clones = True
    async with serving(cloner, store=f"sqlite:///{tmp_path}/clips.db") as client:
        async for method, path, answer in answered(client):
            described = re.sub("/stub$", "/{id}", re.sub("/alice$", "/{name}", path))
            responses = API["paths"][described][method.lower()]["responses"]
            if answer.is_success:
                schema = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
                name = schema["$ref"].rpartition("/")[2]
            else:
                assert str(answer.status_code) in responses
                name = "Error"
            read = msgspec.json.decode(answer.content, type=types[name])
            assert msgspec.to_builtins(read) == answer.json(), (method, path)


@pytest.mark.parametrize(
    ("path", "method", "known"),
    [
        (path, method, named)
        for path, method, operation in OPERATIONS
        if (named := [each["name"] for each in operation.get("parameters", ()) if each.get("in") == "query"])
    ],
)
async def test_a_query_parameter_that_is_not_described_is_refused_with_those_that_are(path, method, known):
    async with serving(StubEngine()) as client:
        answer = await client.request(method, path.format(name="alice", key="0" * 64), params={"voic": "x"})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, "voic")
        assert error["message"].endswith(f"'voic'; there is: {', '.join(known)}")


def test_the_api_description_is_json():
    assert json.loads(json.dumps(API, allow_nan=False)) == API


class Page(HTMLParser):
    VOID = ("meta", "br")

    def __init__(self):
        super().__init__()
        self.text, self.open, self.tags = "", [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(text):
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def test_the_page_shows_every_operation_and_header():
    page = parsed(openapi.page())
    for path, method, _ in OPERATIONS:
        assert f"{method.upper()} {path}" in page.text
    for name in API["paths"][SPEECH]["post"]["responses"]["200"]["headers"]:
        assert name in page.text


def test_the_page_needs_nothing_from_elsewhere():
    page = parsed(openapi.page())
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "img", "iframe")]
    assert not [attrs for _, attrs in page.tags if "://" in str(attrs)]
    assert not re.search(r"url\(|@import", openapi.page())


def test_the_page_follows_light_and_dark():
    assert "color-scheme: light dark" in openapi.page()


def test_the_page_escapes_what_it_quotes():
    evil = "<script>alert(1)</script>"
    operation = {"summary": evil, "responses": {evil: {"description": evil, "headers": {evil: {"description": evil}}}}}
    api = {"info": {"version": evil, "description": evil}, "paths": {evil: {"get": operation}}}
    page = render({**api, "components": {"schemas": {evil: evil}}})
    assert "<script" not in page
    assert parsed(page).text.count(evil) == 10
