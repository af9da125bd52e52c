"""A real server of the S3 protocol, and buckets in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from tests.helpers.deployments import free_port

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "something", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class ObjectServer:
    port: int
    pid: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="somebody",
            aws_secret_access_key="something",
        )

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it answer nothing, and keep its connections open."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


@dataclass(frozen=True)
class Bucket:
    server: ObjectServer
    name: str

    @classmethod
    def new(cls, server: ObjectServer) -> Bucket:
        bucket = cls(server, f"bucket-{uuid.uuid4().hex[:12]}")
        bucket.make()
        return bucket

    @property
    def url(self) -> str:
        return self.url_of(self.name)

    def url_of(self, name: str) -> str:
        return f"s3://{name}/some/prefix?endpoint={self.server.endpoint}&allow_http=true"

    @property
    def client(self) -> Any:
        return self.server.client("s3")

    def make(self) -> None:
        self.client.create_bucket(Bucket=self.name)

    def read(self, path: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=path)["Body"].read())

    def write(self, path: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=path, Body=body)

    def delete(self, path: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=path)


@contextmanager
def run_object_server(directory: Path, port: int | None = None, **environment: str) -> Iterator[ObjectServer]:
    port = port or free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (directory / "objects.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment)
    server = ObjectServer(port, process.pid)
    try:
        await_answer(server, process, directory / "objects.log")
        yield server
    finally:
        process.kill()
        process.wait()


def await_answer(server: ObjectServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(f"{server.endpoint}/moto-api/")
        except httpx.TransportError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the object server does not start: {log.read_text()}")
            time.sleep(0.02)
        else:
            return
