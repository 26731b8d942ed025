"""TLS on both sides of the relay: files in, contexts out. HTTP/1.1 is all that is offered. Nothing travels here."""

from __future__ import annotations

import ssl
from pathlib import Path

from collector.errors import SettingsError

PROTOCOLS = ["http/1.1"]


def server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """What callers are shown. `key` is None where the certificate's file holds it too. Raises SettingsError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(PROTOCOLS)
    load(context, certificate, key)
    return context


def load(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Read the files, also in place of those read before: new connections see the new certificate."""
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"certificate {certificate}: cannot be used ({error}); give the chain and its key as PEM files"
        ) from None


def client_context(authorities: Path | None = None) -> ssl.SSLContext:
    """What upstreams are checked against: the system's authorities, or those of a file. Raises SettingsError."""
    try:
        context = ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"authorities {authorities}: cannot be read ({error}); give a PEM file") from None
    context.set_alpn_protocols(PROTOCOLS)
    return context
