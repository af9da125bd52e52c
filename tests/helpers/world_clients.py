"""Real clients of OpenAI's speech API, unchanged, in environments of their own (``tests/world/run`` makes these)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from anyio.from_thread import BlockingPortal

from sayonce.speech.engines import Engine, build_engine
from tests.helpers.audio_samples import by_ffmpeg
from tests.helpers.deployments import free_port
from tests.helpers.paths import TESTS
from tests.helpers.serving import serving

HERE = TESTS / "world"
PLACE = Path(os.environ.get("SAYONCE_WORLD", HERE.parents[1] / "build/world"))
KEY = f"sk-{sha256(b'world').hexdigest()}"
"""One that a LiteLLM proxy takes for a good one; the proxy's own is the same."""
_KEY_ENV = "SAYONCE_WORLD_KEY"
_STARTED_SECONDS = 90
_SETTINGS = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY, "NO_PROXY": "127.0.0.1"}
"""Nothing about speech: no look-ups on the net, the proxy's own key, and no proxy on the way to this machine."""


class Client(NamedTuple):
    """A client as it is used by default, which gives sound as it comes or a whole clip."""

    driver: str
    way: str
    form: str
    voice: str
    by: str = ""
    """What stands between it and the gateway."""
    streams: bool = True


CLIENTS = {
    "openai": Client("openai_sdk.py", "whole", "mp3", "alloy", streams=False),
    "openai, streaming": Client("openai_sdk.py", "stream", "mp3", "coral"),
    "openai of npm": Client("openai_sdk.mjs", "whole", "mp3", "alloy", streams=False),
    "openai of npm, streaming": Client("openai_sdk.mjs", "stream", "mp3", "coral"),
    "ai": Client("ai_sdk.mjs", "whole", "mp3", "alloy", streams=False),
    "litellm": Client("litellm_sdk.py", "whole", "mp3", "alloy", streams=False),
    "litellm proxy before": Client("openai_sdk.py", "stream", "mp3", "coral", by="proxy", streams=False),
    "litellm proxy behind": Client("openai_sdk.py", "stream", "mp3", "coral", by="gateway over proxy", streams=False),
    "pipecat-ai": Client("pipecat_service.py", "stream", "pcm", "alloy"),
    "livekit-plugins-openai": Client("livekit_plugin.py", "stream", "pcm", "ash"),
    "wyoming-openai": Client("wyoming_client.py", "stream", "pcm", "", by="wyoming-openai"),
}


class Heard(NamedTuple):
    """What a client gave to its user, and when."""

    sound: bytes
    form: str
    first_ms: int | None
    all_ms: int
    rate_hz: int | None = None
    """Of raw samples: what the client says, or takes for granted."""

    @property
    def seconds(self) -> float:
        assert self.sound, "nothing was heard"
        if self.rate_hz is not None:
            return len(self.sound) / 2 / self.rate_hz
        samples, rate_hz = by_ffmpeg(self.sound, self.form)
        return len(samples) / rate_hz


class World:
    """The clients, and the servers that they need, each started when it is first asked for."""

    def __init__(self, portal: BlockingPortal, stack: ExitStack, directory: Path) -> None:
        self._portal, self._stack, self._directory = portal, stack, directory
        stack.enter_context(pytest.MonkeyPatch.context()).setenv(_KEY_ENV, KEY)
        self._keys = directory / "keys"
        self._keys.write_text(f"acme:{sha256(KEY.encode()).hexdigest()}\n")
        self.gateway, self.driver, self.address = cache(self.gateway), cache(self.driver), cache(self.address)

    def gateway(self, engine: Engine) -> str:
        """Return the base URL of a gateway over an engine."""
        options = {"security__api_keys_file": str(self._keys), "server__public_lists": True}
        opened = self._portal.wrap_async_context_manager(serving(engine, **options))
        return f"http://127.0.0.1:{self._stack.enter_context(opened).port}/v1"

    def hear(self, name: str, engine: Engine, text: str, **job: Any) -> Heard:
        """Have a client say something, its only settings being an address and a key."""
        client = CLIENTS[name]
        url = self.address(client.by, engine)
        with tempfile.NamedTemporaryFile(dir=self._directory) as file:
            answer = self.driver(client.driver).do(do=client.way, url=url, key=KEY, text=text, file=file.name, **job)
            return Heard(Path(file.name).read_bytes(), client.form, **answer)

    def voices(self, engine: Engine) -> list[str]:
        """Return what wyoming-openai offers to its clients."""
        file = self._directory / "voices"
        url = self.address("wyoming-openai", engine)
        self.driver("wyoming_client.py").do(do="voices", url=url, file=str(file))
        return file.read_text().splitlines()

    def driver(self, script: str) -> Driver:
        return self._stack.enter_context(Driver.started(script))

    def address(self, by: str, engine: Engine) -> str:
        """Return where a client goes that is to reach a gateway over this engine."""
        if by == "gateway over proxy":
            options = {"base_url": self.address("proxy", engine), "model": "tts-1", "api_key_env": _KEY_ENV}
            return self.gateway(build_engine("openai", options))
        url, port = self.gateway(engine), free_port()
        if by == "proxy":
            self._start(port, "litellm/bin/litellm", "--config", self._models(url), "--port", str(port))
            return f"http://127.0.0.1:{port}"
        if by == "wyoming-openai":
            ours = ("--uri", f"tcp://127.0.0.1:{port}", "--tts-backend", "KOKORO_FASTAPI", "--tts-models", "tts-1")
            server = ("-m", "wyoming_openai", "--tts-openai-url", url, "--tts-openai-key", KEY, *ours)
            self._start(port, "wyoming/bin/python", *server)
            return f"tcp://127.0.0.1:{port}"
        return url

    def _models(self, url: str) -> str:
        """Write the configuration of a LiteLLM proxy: it serves the models that it is told of."""
        models = [
            {"model_name": model, "litellm_params": {"model": f"openai/{model}", "api_base": url, "api_key": KEY}}
            for model in ("tts-1", "gpt-4o-mini-tts")
        ]
        file = self._directory / f"{sha256(url.encode()).hexdigest()}.yaml"
        file.write_text(json.dumps({"model_list": models}))
        return str(file)

    def _start(self, port: int, program: str, *arguments: str) -> None:
        log = self._directory / f"{port}.log"
        self._stack.enter_context(_running([_installed(program), *arguments], port, log))


class Driver:
    """A process in a client's environment that does one job at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextmanager
    def started(cls, script: str) -> Iterator[Driver]:
        program = "npm/bin/node" if script.endswith(".mjs") else f"{script.partition('_')[0]}/bin/python"
        command = [_installed(program), str(HERE / script)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        with subprocess.Popen(command, env=_environment(), **pipes) as process:
            yield cls(process)
            process.stdin.close()

    def do(self, **job: Any) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "the driver has ended"}')
        assert "error" not in answer, answer["error"]
        return answer


def _installed(program: str) -> str:
    if not (PLACE / program).exists():
        reason = f"{PLACE / program} is not there: tests/world/run installs it"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return str(PLACE / program)


def _environment() -> dict[str, str]:
    ours = ("SAYONCE_", "OPENAI_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | _SETTINGS


@contextmanager
def _running(command: list[str], port: int, log: Path) -> Iterator[None]:
    """Run a server that listens on a port."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, env=_environment(), cwd=log.parent, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process,
    ):
        try:
            _await_port(process, port, log)
            yield
        finally:
            process.terminate()


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _STARTED_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"{process.args[0]} does not start: {log.read_text()[-2000:]}")
