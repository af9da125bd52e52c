"""Requests as bytes on a connection, for tests of what no HTTP client would send."""

import asyncio
import json
from contextlib import asynccontextmanager

SPEECH = json.dumps({"model": "stub", "input": "Hello there.", "voice": "anna", "response_format": "wav"}).encode()
CHUNKS = 4000
"""Of the stub's, 19 MB: more than the system takes off the server's hands."""
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(body=SPEECH, *headers, length=None, path="/v1/audio/speech"):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def connected(client, sent=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(sent)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answer(reader):
    """Return the status, the headers and the body of the next answer; a status of 0 where there is none."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return 0, {}, b""
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if "transfer-encoding" not in headers:
        return int(status.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return int(status.split()[1]), headers, body


async def ends(reader):
    """Whether the connection ends, cleanly or not, within some seconds."""
    try:
        await asyncio.wait_for(reader.read(), 6)
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


async def refused(client, sent, status, code=None, **headers):
    """Send bytes that must be refused, in the API's form, and after which the connection must end."""
    async with connected(client, sent) as (reader, _):
        got, fields, body = await answer(reader)
        assert got == status, body
        error = json.loads(body)["error"]
        assert error["type"] == "invalid_request_error"
        assert code in (None, error["code"])
        assert fields.items() >= headers.items()
        assert fields["connection"] == "close"
        assert await ends(reader)
    return error["message"]


async def alive(client):
    assert (await client.get("/health/live")).status_code == 200


async def trickle(writer, data, seconds=0.05):
    for byte in data:
        writer.write(bytes([byte]))
        await asyncio.sleep(seconds)
