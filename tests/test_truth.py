"""Nothing is said that is not so: what is called stored is stored, and a bug of ours is an error in the API's form."""

import re

import pytest

import sayonce
from deployments import Node
from sayonce import errors
from sayonce.testing import StubEngine
from serving import serving, speak, until

MISS, STORED = "sayonce; fwd=miss", "sayonce; fwd=miss; stored"


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    node.start()
    yield node
    node.kill()


async def status(client, text, **fields):
    answer = await speak(client, text, **fields)
    assert answer.status_code == 200, answer.text
    return answer.headers["cache-status"]


async def test_what_a_store_that_is_gone_does_not_keep_is_not_called_stored(node):
    async with serving(StubEngine(), store=node.url) as client:
        assert await status(client, "One.") == STORED
        node.kill()
        await until(lambda: client.service.cache.store_state == "failing")
        assert await status(client, "Two.") == MISS
        node.start()
        await until(lambda: client.service.cache.store_state == "ok")
        assert await status(client, "Three.") == STORED


@pytest.mark.parametrize("full", [("maxmemory", "1mb"), ("min-replicas-to-write", "1")], ids=["full", "read-only"])
async def test_what_a_store_that_takes_no_writes_does_not_keep_is_not_called_stored(node, full):
    async with serving(StubEngine(), store=node.url) as client:
        assert await status(client, "One.") == STORED
        node.call("CONFIG", "SET", *full)
        await status(client, "The first that is refused tells it.")
        await client.service.cache.settle()
        await until(lambda: client.service.cache.store_state == "unwritable")
        assert await status(client, "Two.") == MISS
        assert await status(client, "Three.", response_format="mp3") == MISS


class Unproven(StubEngine):
    """Ends as a connection that broke does."""

    async def synthesize(self, utterance):
        async for part in super().synthesize(utterance):
            yield part if isinstance(part, bytes) else type(part)(part.sample_rate_hz, proves_end=False)


async def test_what_is_heard_and_not_kept_is_not_called_stored():
    async with serving(Unproven()) as client:
        assert await status(client, "One.") == MISS
        assert await status(client, "One.") == MISS


def test_the_error_tree_names_every_public_error_once():
    public = {getattr(sayonce, name) for name in sayonce.__all__}
    tree = descendants(errors.SayonceError)
    named = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Exception)}
    assert named == {kind for kind in tree if kind.__module__ == errors.__name__}
    drawing = errors.__doc__.split("::")[1].split("\n\n")[1]
    drawn = re.findall(r"^[ │├└─]*(\w+)", drawing, re.MULTILINE)
    assert sorted(drawn) == sorted(kind.__name__ for kind in named)


def descendants(kind):
    return {kind}.union(*map(descendants, kind.__subclasses__()))


def routes_of(gateway):
    for route in gateway._others.routes:
        for method in sorted(route.methods - {"HEAD"}):
            yield method, route


async def test_a_bug_on_any_route_is_a_500_in_the_apis_form_without_its_text(monkeypatch, caplog):
    async with serving(StubEngine()) as client:
        gateway = client.gateway
        found = list(routes_of(gateway))
        assert len(found) > 12

        async def bug(scope, receive, send):
            raise RuntimeError("a secret of the code")

        for method, route in found:
            monkeypatch.setattr(route, "app", bug)
            path = route.path.replace("{name}", "alice").replace("{path:path}", "x")
            answer = await client.request(method, path, headers={"content-type": "application/json"}, content=b"{}")
            assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error"), (method, path)
            assert "secret" not in answer.text
