"""TLS for the gRPC port, from TF Serving's `SSLConfig`: the keys and certificates themselves, as PEM text."""

from __future__ import annotations

import grpc

from serving import text_config


def credentials(ssl_config_file: str) -> grpc.ServerCredentials:
    """What the file describes; with `client_verify`, only clients with a certificate of `custom_ca` get in.

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
