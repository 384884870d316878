"""TLS for gRPC: a server's from TF Serving's `SSLConfig`, which holds PEM text itself, a client's from PEM files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from serving import text_config


def credentials(ssl_config_file: str) -> grpc.ServerCredentials:
    """A server's, as the file describes; with `client_verify`, only clients with a certificate of `custom_ca` get in.

    Raises:
        ValueError: the file is not an `SSLConfig`, lacks the server's key or certificate, or asks to verify clients
            without saying by what.
        OSError: it cannot be read.
    """
    config = text_config.read(ssl_config_file, text_config.SSLConfig)
    for field in ("server_key", "server_cert"):
        if not getattr(config, field):
            raise ValueError(f"{ssl_config_file}: {field} must hold PEM text, got ''")
    if config.client_verify and not config.custom_ca:
        raise ValueError(f"{ssl_config_file}: client_verify needs custom_ca, got ''")
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


@dataclass(frozen=True)
class ClientTls:
    """How a client trusts a server, and shows who it is: PEM files.

    Attributes:
        ca: certificates of the authorities that the server's may be signed by; None: gRPC's own list of public ones.
        certificate: the client's own, for a server with `client_verify`; None where it has none.
        key: that certificate's private key.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError(f"certificate and key must be given together, got {self.certificate} and {self.key}")

    def credentials(self) -> grpc.ChannelCredentials:
        """What a channel is opened with; OSError where a file cannot be read."""
        ca, key, certificate = (path and path.read_bytes() for path in (self.ca, self.key, self.certificate))
        return grpc.ssl_channel_credentials(ca, key, certificate)
