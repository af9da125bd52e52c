"""The proxies of ``deploy/proxies``, started from the shipped files with other ports and certificates."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.helpers.certificates import issue, make_ca, pem
from tests.helpers.deployments import free_port, program
from tests.helpers.paths import ROOT

SHIPPED = ROOT / "deploy/proxies"
NAMES = ("nginx", "haproxy", "caddy", "varnish")
HOST = "tts.example.com"


@dataclass(frozen=True)
class Proxy:
    """A running proxy. Varnish speaks no TLS, and HTTP/2 only to clients that know that it does."""

    name: str
    port: int
    version: str
    process: subprocess.Popen[bytes] = field(repr=False)
    trusted: ssl.SSLContext = field(repr=False)

    @property
    def url(self) -> str:
        return f"http{'' if self.name == 'varnish' else 's'}://127.0.0.1:{self.port}"

    def client(self, *, http2: bool = False) -> httpx.AsyncClient:
        plain = not http2 or self.url.startswith("https")
        return httpx.AsyncClient(
            base_url=self.url, verify=self.trusted, http1=plain, http2=http2, timeout=30, trust_env=False
        )


@contextmanager
def run_proxy(
    name: str,
    directory: Path,
    gateway_port: int,
    *,
    gateways: int = 1,
    path: str | None = None,
    without: str | None = None,
) -> Iterator[Proxy]:
    """Run a proxy in front of a port of this machine.

    Args:
        gateways: how many gateways it takes the one for; Varnish has one in any case.
        path: another program than the installed one.
        without: a line to leave out of the shipped file.

    """
    found = path or installed(name) or program(name)
    trusted = _certificates(directory)
    port = free_port()
    command = _COMMANDS[name](
        found, directory, port, [gateway_port] * gateways, {} if without is None else {without: ""}
    )
    environment = os.environ | {"XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    log = directory / "log"
    with log.open("ab") as out:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=out, stderr=out)
    try:
        _await_port(port, process, log)
        yield Proxy(name, port, _version(name, found), process, trusted)
    finally:
        process.terminate()
        process.wait()


def installed(name: str) -> str | None:
    """Return the path of a proxy; Debian has most where its users do not look."""
    return shutil.which("varnishd" if name == "varnish" else name, path=f"{os.environ['PATH']}:/usr/sbin")


def shipped(name: str, changes: Mapping[str, str]) -> str:
    """Return a shipped file with what differs here; each of ``changes`` must be in it."""
    text = (SHIPPED / name).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    return text


def _nginx(found: str, directory: Path, port: int, gateways: list[int], changes: dict[str, str]) -> list[str]:
    changes |= {
        "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
        "listen [::]:443 ssl http2;": "",
        f"/etc/ssl/certs/{HOST}.pem": f"{directory}/server.pem",
        f"/etc/ssl/private/{HOST}.key": f"{directory}/server.key",
        "server 127.0.0.1:8080;": " ".join(f"server 127.0.0.1:{each};" for each in gateways),
    }
    (directory / "sayonce.conf").write_text(shipped("nginx.conf", changes))
    places = "".join(
        f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""  # the directories of the tests are their user's alone
    (directory / "nginx.conf").write_text(
        f"{user}\nworker_processes 1;\npid {directory}/pid;\nerror_log {directory}/log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{places}include {directory}/sayonce.conf;\n}}\n"
    )
    options = ["-p", str(directory), "-c", f"{directory}/nginx.conf", "-e", f"{directory}/log", "-g", "daemon off;"]
    return [found, *options]


def _haproxy(found: str, directory: Path, port: int, gateways: list[int], changes: dict[str, str]) -> list[str]:
    both = (directory / "server.pem").read_text() + (directory / "server.key").read_text()
    (directory / "both.pem").write_text(both)
    changes |= {
        "alpn http/1.1": "alpn h2,http/1.1",  # what happens over HTTP/2 is why it is not there
        "bind :443": f"bind 127.0.0.1:{port}",
        f"/etc/haproxy/{HOST}.pem": f"{directory}/both.pem",
        "    server one 127.0.0.1:8080 check": "".join(
            f"    server number{number} 127.0.0.1:{each} check\n" for number, each in enumerate(gateways)
        ),
    }
    (directory / "haproxy.cfg").write_text(shipped("haproxy.cfg", changes))
    return [found, "-db", "-f", f"{directory}/haproxy.cfg"]


def _caddy(found: str, directory: Path, port: int, gateways: list[int], changes: dict[str, str]) -> list[str]:
    changes |= {
        f"\n{HOST} {{": f"\nhttps://:{port} {{\n\tbind 127.0.0.1\n\ttls {directory}/server.pem {directory}/server.key",
        "reverse_proxy 127.0.0.1:8080": f"reverse_proxy {' '.join(f'127.0.0.1:{each}' for each in gateways)}",
    }
    options = "{\n\tadmin off\n\tauto_https off\n}\n"
    (directory / "Caddyfile").write_text(options + shipped("Caddyfile", changes))
    return [found, "run", "--adapter", "caddyfile", "--config", f"{directory}/Caddyfile"]


def _varnish(found: str, directory: Path, port: int, gateways: list[int], changes: dict[str, str]) -> list[str]:
    changes |= {'.port = "8080"': f'.port = "{gateways[0]}"'}
    (directory / "default.vcl").write_text(shipped("varnish.vcl", changes))
    (directory / "state").mkdir()
    options = ["-F", "-j", "none", "-n", f"{directory}/state", "-s", "default=malloc,64m", "-p", "feature=+http2"]
    return [found, *options, "-a", f"127.0.0.1:{port}", "-f", f"{directory}/default.vcl"]


_COMMANDS = {"nginx": _nginx, "haproxy": _haproxy, "caddy": _caddy, "varnish": _varnish}


def _version(name: str, found: str) -> str:
    """Return the first two numbers of a program's version, which say what it does."""
    flag = {"caddy": "version", "varnish": "-V"}.get(name, "-v")
    told = subprocess.run([found, flag], capture_output=True, text=True, check=True)
    numbers = re.search(r"\d+\.\d+", told.stdout + told.stderr)
    assert numbers is not None
    return numbers.group()


def _certificates(directory: Path) -> ssl.SSLContext:
    """Write ``server.pem`` and its key, and return what trusts it."""
    ca_key, ca = make_ca("tests")
    issue(directory / "server", "server", ca_key, ca)
    return ssl.create_default_context(cadata=pem(ca).decode())


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the proxy does not start: {log.read_text()}")
            time.sleep(0.02)
        else:
            return
