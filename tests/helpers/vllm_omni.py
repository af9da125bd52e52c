"""An imitation of vLLM-Omni's speech server (0.30), on a socket: its voices with their field names and answers.

It keeps uploaded voices by name, in lower case, and overwrites one that comes again; lists them with the moment of their
upload; and refuses a voice that it does not know, or speaks in its own (``speaks_unknown``), as some of its models do.
"""

import asyncio
import base64
import itertools
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.helpers.upstream import wav

_moments = itertools.count(1_738_660_000)


def sound(text: str, reference: bytes, transcript: str) -> bytes:
    """Return samples that tell the text, the reference and its transcript."""
    digest = blake2b(repr((text, reference, transcript)).encode()).digest()
    return digest * 75


class Omni:
    """One server. What it does otherwise than well is set on it."""

    def __init__(self) -> None:
        self.voices: dict[str, dict[str, Any]] = {}
        self.speaks_unknown = False
        self.lists: int | str = "voices"
        """A status to answer instead, ``hang``, or what to leave out: ``uploads``."""
        self.takes: int | str = "keeps"
        """A status to answer instead, ``hang``, ``lies``: it says that it keeps a voice, and does not; or ``loses``: somebody
        puts another reference under the name at once."""
        self.tells = ("name", "consent", "created_at", "file_size", "mime_type", "ref_text")
        """The fields of an uploaded voice in its list."""
        self.answers = ("name", "consent", "created_at", "file_size", "mime_type", "ref_text")
        """Those in the answer to an upload."""
        self.removes: int | str = "removes"
        self.speaks: int | str = "speaks"
        self.gate = asyncio.Event()
        self.gate.set()
        """Uploads wait for it."""
        self.over = asyncio.Event()
        self.asked: list[dict[str, Any]] = []
        self.uploads: list[str] = []
        self.removed: list[str] = []
        self.looks = 0
        self._port = 0
        self._app = Starlette(
            routes=[
                Route("/v1/models", lambda _: JSONResponse({"object": "list", "data": []})),
                Route("/v1/audio/voices", self._list),
                Route("/v1/audio/voices", self._upload, methods=["POST"]),
                Route("/v1/audio/voices/{name}", self._remove, methods=["DELETE"]),
                Route("/v1/audio/speech", self._speak, methods=["POST"]),
            ]
        )

    @property
    def references(self) -> list[dict[str, Any]]:
        """The requests that had a reference with them."""
        return [said for said in self.asked if "ref_audio" in said]

    async def start(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", self._port))
        self._port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/v1"
        config = uvicorn.Config(self._app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._running = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started:
            await asyncio.sleep(0.001)

    async def stop(self) -> None:
        self.over.set()
        self._server.should_exit = True
        await self._running
        self._socket.close()

    async def restart_empty(self) -> None:
        await self.stop()
        self.over.clear()
        self.voices = {}
        await self.start()

    async def _list(self, _: Request) -> Response:
        self.looks += 1
        if isinstance(self.lists, int):
            return JSONResponse({"detail": "Not Found"}, self.lists)
        if self.lists == "hang":
            await self.over.wait()
        listed = {"voices": ["vivian", "ryan", *sorted(self.voices)]}
        if self.lists != "uploads":
            listed["uploaded_voices"] = [
                {field: voice[field] for field in self.tells if voice[field]} for voice in self.voices.values()
            ]
        return JSONResponse(listed)

    async def _upload(self, request: Request) -> Response:
        async with request.form() as form:
            assert {"audio_sample", "consent", "name"} <= form.keys() <= {"audio_sample", "consent", "name", "ref_text"}
            name, reference = form["name"], await form["audio_sample"].read()
            media_type, text = form["audio_sample"].content_type, form.get("ref_text", "")
        self.uploads.append(name)
        await self.gate.wait()
        if self.takes == "hang":
            await self.over.wait()
        if isinstance(self.takes, int):
            return _refused("Reference audio too short (0.5s).", self.takes)
        voice = self.put(name, reference, text, media_type, form["consent"])
        if self.takes == "loses":
            self.put(name, b"somebody's")
        return JSONResponse({"success": True, "voice": voice})

    def put(
        self, name: str, reference: bytes, text: str = "", media_type: str = "audio/wav", consent: str = "c"
    ) -> Any:
        """Keep a voice in place of what has its name; return what is told of it."""
        voice = {"name": name, "consent": consent, "created_at": next(_moments), "mime_type": media_type}
        voice |= {"file_size": len(reference), "ref_text": text}
        if self.takes != "lies":
            self.voices[name.lower()] = {**voice, "reference": reference}
        return {field: value for field, value in voice.items() if value and field in self.answers}

    async def _remove(self, request: Request) -> Response:
        name = request.path_params["name"]
        if isinstance(self.removes, int):
            return JSONResponse({"success": False, "error": "Failed to delete voice"}, self.removes)
        self.removed.append(name)
        if self.voices.pop(name.lower(), None) is None:
            return JSONResponse({"success": False, "error": f"Voice {name!r} not found"}, 404)
        return JSONResponse({"success": True, "message": f"Voice {name!r} deleted successfully"})

    async def _speak(self, request: Request) -> Response:
        said = json.loads(await request.body())
        self.asked.append(said)
        if isinstance(self.speaks, int):
            return _refused(f"'language' {said.get('language')!r} is not supported", self.speaks)
        if "ref_audio" in said:
            reference = base64.b64decode(said["ref_audio"].partition(",")[2])
            return _audio(said["input"], reference, said.get("ref_text") or "")
        voice = self.voices.get(said["voice"].lower())
        if voice is not None and self.speaks != "refuses names":
            return _audio(said["input"], voice["reference"], voice["ref_text"])
        if self.speaks_unknown:
            return _audio(said["input"], b"its own voice", "")
        return _refused(
            f"Invalid voice {said['voice']!r}. Supported: {', '.join(sorted(['ryan', 'vivian', *self.voices]))}"
        )


def _audio(text: str, reference: bytes, transcript: str) -> Response:
    return Response(wav(sound(text, reference, transcript)), media_type="audio/wav")


def _refused(message: str, status: int = 400) -> Response:
    error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
    return JSONResponse({"error": error}, status)


@asynccontextmanager
async def omnis(number: int) -> AsyncIterator[list[Omni]]:
    started = [Omni() for _ in range(number)]
    for each in started:
        await each.start()
    try:
        yield started
    finally:
        for each in started:
            await each.stop()
