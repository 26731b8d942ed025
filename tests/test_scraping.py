"""A real Prometheus scrapes the service as it is run: asking for keys, behind a real nginx that speaks TLS."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.app import Service
from collector.settings.configuration import load_settings
from tests.conftest import ROOT
from tests.faces.test_scraped import listening
from tests.servers.ports import free_port as any_port
from tests.servers.prometheus import configured_prometheus

TOKEN = "metrics-" + "k" * 32


@contextmanager
def behind_tls(nginx: str, openssl: str, folder: Path, target: str) -> Iterator[int]:
    """nginx as in deploy/, with its own port, files and certificate, which is its CA too. Gives the port."""
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "crt.pem"]
    subprocess.run(made, check=True, capture_output=True)
    port = any_port()
    told = (ROOT / "deploy" / "nginx.conf").read_text()
    told = told.replace("listen 443", f"listen 127.0.0.1:{port}").replace("127.0.0.1:9180", target)
    told = re.sub(r"/etc/nginx/dify-metric\.(\w+)", lambda found: str(folder / f"{found[1]}.pem"), told)
    (folder / "site.conf").write_text(told)
    paths = "".join(f"{each}_temp_path {folder}; " for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}} "
        f"http {{ access_log off; {paths} include {folder}/site.conf; }}"
    )
    process = subprocess.Popen([nginx, "-p", folder, "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


JOBS = {
    "bearer": "authorization: {credentials_file: TOKEN}, tls_config: {ca_file: CA}",
    "basic": "basic_auth: {username: prometheus, password_file: TOKEN}, tls_config: {ca_file: CA}",
    "nobody": "tls_config: {ca_file: CA}",
    "stranger": "authorization: {credentials_file: TOKEN}",
}
"""Job -> how it asks."""


@pytest.fixture
def service() -> Iterator[Service]:
    settings = load_settings({"store": ":memory:", "metrics_token": TOKEN, "access": "keys"}, {})
    service = Service(settings)
    yield service
    service.store.close()


def test_by_key_over_tls_and_not_without(server: Callable[[str], str], service: Service, tmp_path: Path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    programs = server("nginx"), server("openssl")
    with listening(service.web()) as target, behind_tls(*programs, tmp_path, target) as port:
        told = f"scheme: https, static_configs: [{{targets: ['localhost:{port}']}}]"
        jobs = (f"  - {{job_name: {name}, {told}, {how}}}" for name, how in JOBS.items())
        text = "\n".join(["scrape_configs:", *jobs, ""])
        text = text.replace("TOKEN", str(tmp_path / "token")).replace("CA", str(tmp_path / "crt.pem"))
        with configured_prometheus(server("prometheus"), tmp_path, any_port(), text) as there:
            there.wait_for(lambda: len(there.query("up")) == len(JOBS), "a scrape of every job")
            there.wait_for(lambda: there.value("sum(up)") == 2, "two jobs that are let in")
            up = {each["metric"]["job"]: each["value"][1] for each in there.query("up")}
            info = {each["metric"]["job"] for each in there.query("dify_metric_build_info")}

    assert up == {"bearer": "1", "basic": "1", "nobody": "0", "stranger": "0"}
    assert info == {"bearer", "basic"}
    assert set(service.admission.refused) == {"missing"}
