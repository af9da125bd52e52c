"""Redis over TLS: it proves who it is, and so can we."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conftest import Server, run_redis_server
from sayonce.core.envelope import Entry, Sealer
from sayonce.errors import ConfigError
from sayonce.stores import open_store
from sayonce.stores.base import Failure, StoreError
from test_store_redis import PASSWORD, QUOTED, opened

MakeEntry = Callable[..., Entry]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``ca.pem``, ``server.pem`` and ``server.key`` for 127.0.0.1, and ``stranger.pem``, another CA."""
    directory = tmp_path_factory.mktemp("certificates")
    ca_key, ca = make_ca("tests")
    _, stranger = make_ca("strangers")
    key = ec.generate_private_key(ec.SECP256R1())
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    issued = certificate("server", ca.subject, key.public_key()).add_extension(address, critical=False)
    issued = issued.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
    )
    (directory / "ca.pem").write_bytes(pem(ca))
    (directory / "stranger.pem").write_bytes(pem(stranger))
    (directory / "server.pem").write_bytes(pem(issued.sign(ca_key, hashes.SHA256())))
    (directory / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return directory


def make_ca(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = certificate(name, subject, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return key, builder.sign(key, hashes.SHA256())


def certificate(name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )


def pem(found: x509.Certificate) -> bytes:
    return found.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def tls_server(tmp_path: Path, certificates: Path) -> Iterator[Server]:
    """A Redis that speaks TLS alone, with a password."""
    options = ["--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "no", "--requirepass", PASSWORD]
    options += ["--tls-cert-file", f"{certificates}/server.pem", "--tls-key-file", f"{certificates}/server.key"]
    options += ["--tls-ca-cert-file", f"{certificates}/ca.pem"]

    def ready(port: int) -> redis.Redis:
        return redis.Redis(
            port=port, password=PASSWORD, ssl=True, ssl_ca_certs=f"{certificates}/ca.pem", host="127.0.0.1"
        )

    with run_redis_server(tmp_path, *options, ready=ready) as server:
        yield server


async def test_tls_with_the_right_ca_and_password_is_accepted(
    tls_server: Server, certificates: Path, sealer: Sealer, make_entry: MakeEntry, clock: Callable[[], float]
) -> None:
    url = f"rediss://default:{QUOTED}@127.0.0.1:{tls_server.port}/0?ssl_ca_certs={certificates}/ca.pem"
    async with opened(url, sealer, clock=clock) as store:
        assert await store.put(make_entry(1))
        assert await store.get(make_entry(1).key) == make_entry(1)


@pytest.mark.parametrize(
    ("host", "option"),
    [("127.0.0.1", "?ssl_ca_certs={}/stranger.pem"), ("127.0.0.1", ""), ("localhost", "?ssl_ca_certs={}/ca.pem")],
    ids=["another CA", "the system's CAs", "another host's certificate"],
)
async def test_tls_refuses_a_server_that_does_not_prove_who_it_is(
    tls_server: Server, certificates: Path, sealer: Sealer, clock: Callable[[], float], host: str, option: str
) -> None:
    url = f"rediss://:{QUOTED}@{host}:{tls_server.port}/0" + option.format(certificates)
    async with opened(url, sealer, clock=clock) as store:
        with pytest.raises(StoreError, match="certificate verify failed") as failed:
            await store.bump("tag")
    assert failed.value.kind is Failure.LOST


async def test_tls_does_not_replace_the_password(
    tls_server: Server, certificates: Path, sealer: Sealer, clock: Callable[[], float]
) -> None:
    url = f"rediss://127.0.0.1:{tls_server.port}/0?ssl_ca_certs={certificates}/ca.pem"
    async with opened(url, sealer, clock=clock) as store:
        with pytest.raises(StoreError, match="AuthenticationError"):
            await store.bump("tag")


async def test_a_missing_file_of_ca_certificates_is_found_out_at_once(sealer: Sealer) -> None:
    store = open_store("rediss://localhost?ssl_ca_certs=/nowhere/ca.pem", sealer=sealer)
    assert store is not None
    with pytest.raises(ConfigError, match=r"/nowhere/ca\.pem: there is no such file"):
        await store.open()
