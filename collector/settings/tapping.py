"""Where the tap stands, where it passes requests on to, and where its records go."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from collector.settings.dify import Dify
from collector.settings.group import field
from collector.settings.written import Address, Behind, Listen, Text, Upstreams, Url


class Tap(Dify):
    """The tap. Where nothing else is said, what is behind it is the Dify of the plain settings."""

    tap: Listen | None = field(
        None,
        "host:port",
        "Where `serve` starts a tap beside it, for small sites: callers ask there what they asked Dify.",
        example="0.0.0.0:9183",
    )
    tap_listen: Listen = field(
        Address("127.0.0.1", 9183), "host:port", "Where `tap` takes the requests that callers have for Dify."
    )
    tap_upstream: Upstreams = field(
        (),
        "URLs",
        "Where the tap passes requests on to, several as [HOST][/PREFIX]=URL with commas; default: dify_url.",
        example="http://dify-api:5001",
    )
    tap_collector: Url = field(
        "http://127.0.0.1:9180", "URL", "The collector that `tap` sends its records to; it needs the ingest_token."
    )
    tap_spool: Text = field("dify-metric-spool", "path", "The folder that keeps records until the collector has them.")
    tap_spool_bytes: int = field(
        1 << 30, "bytes", "Most that the spool may take; beyond it the oldest records go.", ge=1 << 20
    )
    tap_workers: int = field(1, "processes", "Processes that share the tap's port.", ge=1, le=64)
    tap_admin: Listen = field(
        Address("127.0.0.1", 9181), "host:port", "Where the tap itself answers /metrics and /health."
    )
    tap_advertise: Listen | None = field(
        None,
        "host:port",
        "Where Prometheus reaches tap_admin, as the collector lists it; default: the address the tap asks it from.",
        example="tap-1.example.com:9181",
    )
    tap_stop_seconds: float = field(
        300, "seconds", "How long answers on their way may go on when the tap is told to stop.", ge=0
    )
    tap_keeps_host: bool = field(
        True, "true/false", "Tell upstreams the Host that callers asked for, as a proxy before Dify does."
    )
    tap_tls_cert: Text | None = field(
        None, "path", "Certificate chain (PEM) that the tap shows callers.", example="/etc/dify-metric/tap.pem"
    )
    tap_tls_key: Text | None = field(
        None, "path", "Its key, where it is not in the same file.", example="/etc/dify-metric/tap.key"
    )
    tap_upstream_ca: Text | None = field(
        None, "path", "Authorities (PEM) that upstreams are checked against.", example="/etc/dify-metric/ca.pem"
    )
    tap_collector_ca: Text | None = field(
        None, "path", "Authorities (PEM) that the collector is checked against.", example="/etc/dify-metric/ca.pem"
    )

    @model_validator(mode="after")
    def _has_an_upstream_and_a_certificate(self) -> Self:
        if self.tap and not self.upstreams:
            raise ValueError("tap without an upstream; set tap_upstream, or dify_url, to the address of Dify")
        if self.tap_tls_key and not self.tap_tls_cert:
            raise ValueError("tap_tls_key without tap_tls_cert; set both")
        return self

    @property
    def upstreams(self) -> tuple[Behind, ...]:
        """Where a tap passes requests on to; () where nothing says so."""
        if self.tap_upstream or self.dify_url is None:
            return self.tap_upstream
        return (Behind(self.dify_url),)
