"""The endpoint over TLS, with and without certificates of clients. All keys are made for the test."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl

import httpx
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from openrtc_worker.control.limits import ControlLimits
from openrtc_worker.control.settings import ControlError
from tests.control.conftest import until
from tests.control.event_reader import EventReader


class Authority:
    """A certificate authority that lives for one test."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.path = self._write(
            f"{name}-ca.pem", self._signed(self.name, self.key, x509.BasicConstraints(True, None))
        )

    def issue(self, name, *, password=None):
        """Certificate and key files of somebody whom this authority vouches for."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._write(f"{name}.pem", self._signed(subject, key, x509.BasicConstraints(False, None)))
        how = BestAvailableEncryption(password) if password else NoEncryption()
        key_path = self.folder / f"{name}-key.pem"
        key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
        key_path.chmod(0o600)
        return certificate, key_path

    def _signed(self, subject, key, constraints):
        now = dt.datetime.now(dt.UTC)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def _write(self, name, certificate):
        path = self.folder / name
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        return path


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "ours")


@pytest.fixture
def tls(authority):
    cert, key = authority.issue("worker")
    return {"tls_cert": cert, "tls_key": key}


def client_for(endpoint, authority, *certificate):
    context = ssl.create_default_context(cafile=authority.path)
    if certificate:
        context.load_cert_chain(*certificate)
    return httpx.AsyncClient(base_url=endpoint.server.url, verify=context, trust_env=False)


async def test_everything_is_served_over_tls_and_bye_still_comes_through(serve, authority, tls):
    endpoint = await serve(**tls)
    assert endpoint.server.url.startswith("https://127.0.0.1:")
    async with client_for(endpoint, authority) as client:
        assert (await client.get("/v1/snapshot")).status_code == 200
        async with client.stream("GET", "/v1/events") as response:
            reader = EventReader(response)
            reading = asyncio.create_task(reader.read())
            await reader.until(lambda r: r.snapshots)
            rooms = {f"tenant-{number}": 1 for number in range(20_000)}
            last = msgspec.structs.replace(endpoint.target.snapshot, exit_code=0, sessions_by_tenant=rooms)
            await endpoint.server.say_bye(last)
            await endpoint.server.aclose()
            await reading
            assert reader.frames[-1].kind == "bye"
            assert reader.frames[-1].data["sessions_by_tenant"] == rooms


async def test_with_a_client_ca_only_its_clients_get_in(serve, authority, tls, tmp_path):
    strangers = Authority(tmp_path, "theirs")
    endpoint = await serve(**tls, tls_client_ca=authority.path)
    async with client_for(endpoint, authority, *authority.issue("operator")) as client:
        assert (await client.get("/v1/snapshot")).status_code == 200
    for certificate in ((), strangers.issue("stranger")):
        async with client_for(endpoint, authority, *certificate) as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/v1/snapshot")


async def test_a_handshake_that_never_ends_is_ended_and_counts_against_the_limit(serve, authority, tls):
    endpoint = await serve(**tls, limits=ControlLimits(handshake=1.0, connections=3))
    silent = [await asyncio.open_connection("127.0.0.1", endpoint.server.port) for _ in range(3)]
    listener = endpoint.server._listener
    await until(lambda: len(listener._arriving) == 3)
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.server.port)
    async with asyncio.timeout(20):
        assert await reader.read() == b""  # no room, and no time is spent on a handshake
        writer.close()
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.close()
    await until(lambda: not listener._arriving)
    async with client_for(endpoint, authority) as client:
        assert (await client.get("/healthz")).status_code == 200


async def test_plain_http_on_a_tls_port_gets_nothing(serve, tls, caplog):
    endpoint = await serve(**tls)
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.server.port)
    writer.write(b"GET /v1/snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(20):
        assert b"HTTP" not in await reader.read()
    writer.close()
    assert "Traceback" not in caplog.text


async def test_closing_while_somebody_shakes_hands_leaves_nothing_open(serve, tls):
    endpoint = await serve(**tls)
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.server.port)
    await until(lambda: endpoint.server._listener._arriving)
    async with asyncio.timeout(20):
        await endpoint.server.aclose()
        assert await reader.read() == b""
    writer.close()


async def refusal(serve, **settings):
    with pytest.raises(ControlError) as refused:
        await serve(**settings)
    assert "\n" not in str(refused.value)
    return str(refused.value)


async def test_a_key_that_others_can_read_is_refused(serve, tls):
    tls["tls_key"].chmod(0o644)
    assert "chmod 600" in await refusal(serve, **tls)


async def test_a_certificate_that_others_can_write_is_refused(serve, tls):
    tls["tls_cert"].chmod(0o666)
    assert "chmod o-w" in await refusal(serve, **tls)


async def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(serve, authority):
    cert, key = authority.issue("locked", password=b"x")
    assert "without a passphrase" in await refusal(serve, tls_cert=cert, tls_key=key)


async def test_a_certificate_of_another_key_is_refused(serve, authority, tls):
    _, other_key = authority.issue("other")
    assert "no certificate chain and its key" in await refusal(serve, **{**tls, "tls_key": other_key})


async def test_a_client_ca_that_is_none_is_refused(serve, tls):
    assert "holds no CA" in await refusal(serve, **tls, tls_client_ca=tls["tls_key"])


async def test_a_file_that_is_not_there_is_named(serve, tls, tmp_path):
    absent = tmp_path / "absent.pem"
    assert str(absent) in await refusal(serve, **{**tls, "tls_cert": absent})
