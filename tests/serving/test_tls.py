from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from serving import tls
from serving.client import Client
from serving.config import ServeConfig
from serving.errors import Unavailable
from serving.server import Server
from serving.tls import ClientTls


@pytest.fixture(scope="module")
def pem() -> tuple[str, str]:
    """A key, and a certificate for 127.0.0.1 that it signed itself; it is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def write(path: Path, **fields: str) -> Path:
    lines = [f"{name}: {value}" for name, value in fields.items()]
    path.write_text("\n".join(lines))
    return path


def quoted(text: str) -> str:
    return '"' + text.replace("\n", "\\n") + '"'


def status(channel: grpc.Channel) -> int:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "catalogue"})
    answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=30)
    return answer.model_version_status[0].state


def test_serves_over_tls_and_over_a_unix_socket(exported: Path, tmp_path: Path, pem: tuple[str, str]) -> None:
    key, certificate = pem
    ssl = write(tmp_path / "ssl.config", server_key=quoted(key), server_cert=quoted(certificate))
    socket = tmp_path / "grpc.sock"
    config = ServeConfig(grpc_port=0, rest_port=0, ssl_config_file=str(ssl), grpc_socket_path=str(socket))
    trusted = grpc.ssl_channel_credentials(certificate.encode())
    with Server({"catalogue": exported}, config) as server:
        address = f"127.0.0.1:{server.grpc_port}"
        with grpc.secure_channel(address, trusted) as channel:
            assert status(channel) == 30
        with grpc.secure_channel(
            f"unix:{socket}", trusted, [("grpc.ssl_target_name_override", "127.0.0.1")]
        ) as channel:
            assert status(channel) == 30
        with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError):
            status(channel)


def test_may_ask_clients_for_a_certificate(exported: Path, tmp_path: Path, pem: tuple[str, str]) -> None:
    key, certificate = pem
    fields = {"server_key": quoted(key), "server_cert": quoted(certificate), "custom_ca": quoted(certificate)}
    ssl = write(tmp_path / "ssl.config", **fields, client_verify="true")
    config = ServeConfig(grpc_port=0, rest_port=0, ssl_config_file=str(ssl))
    (ca := tmp_path / "ca.pem").write_text(certificate)
    (private := tmp_path / "key.pem").write_text(key)
    known, unknown = ClientTls(ca, ca, private), ClientTls(ca)
    with Server({"catalogue": exported}, config) as server:
        address = f"127.0.0.1:{server.grpc_port}"
        with Client(address, "catalogue", tls=known) as client:
            assert [entry["state"] for entry in client.status()] == ["AVAILABLE"]
        with Client(address, "catalogue", tls=unknown, retries=1) as client, pytest.raises(Unavailable):
            client.status()


def test_a_client_s_certificate_needs_its_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="certificate and key must be given together, got cert.pem and None"):
        ClientTls(certificate=Path("cert.pem"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"server_cert": '"x"'}, "server_key must hold PEM text, got ''"),
        ({"server_key": '"x"'}, "server_cert must hold PEM text, got ''"),
        ({"server_key": '"x"', "server_cert": '"x"', "client_verify": "true"}, "client_verify needs custom_ca"),
        ({"key": '"x"'}, "not a SSLConfig"),
    ],
)
def test_refuses_another_file(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    path = write(tmp_path / "ssl.config", **fields)
    with pytest.raises(ValueError, match=f"ssl.config: .*{message}"):
        tls.credentials(str(path))
