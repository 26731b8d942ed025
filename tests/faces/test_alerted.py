"""One alert goes all the way: from a real Prometheus through a real Alertmanager to a webhook."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

from collector.faces.rules import ALERTS
from tests.conftest import ROOT
from tests.servers.ports import free_port as any_port
from tests.servers.prometheus import configured_prometheus

RULES = ROOT / "dashboards" / "rules"


@contextmanager
def webhook() -> Iterator[tuple[int, Queue[dict[str, Any]]]]:
    """Its port, and what comes in there."""
    heard: Queue[dict[str, Any]] = Queue()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield listening.server_port, heard
        finally:
            listening.shutdown()
            thread.join()


@contextmanager
def alertmanager(binary: str, folder: Path, hook: int) -> Iterator[int]:
    """A real Alertmanager that tells a webhook at once; its port."""
    config = folder / "alertmanager.yml"
    config.write_text(
        "route: {receiver: hook, group_wait: 0s, group_interval: 1s}\n"
        f"receivers: [{{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{hook}/'}}]}}]\n"
    )
    port = any_port()
    line = [binary, f"--config.file={config}", f"--storage.path={folder / 'alerts'}", "--cluster.listen-address="]
    with (folder / "alertmanager.log").open("w") as log:
        process = subprocess.Popen([*line, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            yield port
        finally:
            process.terminate()
            process.wait()


def test_an_alert_goes_all_the_way_to_a_webhook(server: Callable[[str], str], tmp_path: Path):
    """A Prometheus that scrapes nobody: no dify-metric is there. Only how long that has to last is shortened."""
    programs = server("prometheus"), server("prometheus-alertmanager")
    rules = (RULES / "alerts.yaml").read_text().replace("for: 5m", "for: 1s")
    (tmp_path / "alerts.yaml").write_text(rules)
    with webhook() as (hook, heard), alertmanager(programs[1], tmp_path, hook) as port:
        more = (
            f"rule_files: [{tmp_path}/alerts.yaml]\n"
            f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]}}\n"
        )
        again = "--rules.alert.resend-delay=1s"  # the first is lost: who is to be told is found a little later
        with configured_prometheus(programs[0], tmp_path, any_port(), more, again):
            told = heard.get(timeout=60)

    (alert,) = told["alerts"]
    assert (told["status"], alert["labels"]["alertname"]) == ("firing", "DifyMetricDown")
    assert alert["labels"]["severity"] == "critical"
    said = ALERTS["DifyMetricDown"]
    assert alert["annotations"] == {
        "summary": said.summary[0],
        "summary_zh": said.summary[1],
        "description": said.description[0],
        "description_zh": said.description[1],
        "runbook": said.runbook,
        "dashboard": "/d/dify-metric-itself",
    }
