"""What stands in deploy/ is held against the programs that will read it, and against our own settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from collector.access import Scope
from collector.faces.grafana.questions import REST
from collector.settings import FIELDS, Settings, variable
from collector.settings.configuration import KEYS, example_file, load_settings
from collector.tapping import plan_of
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
MANIFESTS = sorted([*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.yml")])
TOLD = [file for file in sorted(DEPLOY.rglob("*")) if file.is_file() and file.suffix != ".png"] + [ROOT / "README.md"]


def documents(name: str) -> list[dict]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: str(file.relative_to(DEPLOY)))
def test_every_manifest_is_yaml(file: Path):
    assert all(isinstance(document, dict) for document in yaml.safe_load_all(file.read_text()))


@pytest.mark.parametrize("file", TOLD, ids=lambda file: file.name)
def test_every_variable_that_is_named_is_a_setting(file: Path):
    named = set(re.findall(r"DIFY_METRIC_[A-Z][A-Z_]*\b", file.read_text())) - {"DIFY_METRIC_CONFIG"}
    assert named <= {variable(key) for key in KEYS}


class TestTheExampleFile:
    def test_is_fresh(self):
        assert (DEPLOY / "dify-metric.toml").read_text() == example_file()

    def test_names_every_setting_and_changes_none(self):
        assert tomllib.loads(example_file()) == {}
        assert set(tomllib.loads(uncommented(example_file()))) == set(FIELDS)

    def test_holds_values_that_are_taken(self, tmp_path: Path):
        (tmp_path / "all.toml").write_text(
            uncommented(
                example_file(),
                but=(
                    "dify_admin_key",
                    "dify_password",
                    "dify_app_keys",
                    r"\w+_token",
                    "broker_url",
                    "broker_cache_url",
                    "database_url",
                    "smtp_url",
                    "report_webhooks",
                ),
            )
        )
        told = tomllib.loads((tmp_path / "all.toml").read_text())
        del told["dify_email"], told["dify_workspace_id"], told["report_recipients"]  # each needs a secret
        settings = load_settings(told | {"dify_token": "x"}, {})
        assert settings.pull_interval == Settings().pull_interval


def uncommented(text: str, but: tuple[str, ...] = ()) -> str:
    """The file with its settings switched on, all but some."""
    return re.sub(rf"(?m)^#(?!({'|'.join(but) or '$'}) )(?=[a-z_]+ = )", "", text)


class TestContainers:
    def test_compose_gives_the_collector_settings_it_takes(self, tmp_path: Path):
        (tmp_path / "key").write_text("secret\n")
        (compose,) = documents("compose.yaml")
        told = compose["services"]["dify-metric"]["environment"]
        said = {"DIFY_URL": "https://dify", "DIFY_WORKSPACE_ID": "w", "REPORT_TIMEZONE": "UTC"}
        env = {name: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: said[found[1]], value) for name, value in told.items()}
        env |= {name: str(tmp_path / "key") for name in env if name.endswith("_FILE")}
        settings = load_settings({"listen": "0.0.0.0:9180"}, env)
        assert (settings.sign_in, settings.is_open) == ("admin key", True)

    def test_compose_gives_the_tap_settings_it_takes(self, tmp_path: Path):
        (tmp_path / "key").write_text("secret\n")
        (compose,) = documents("compose.yaml")
        env = dict(compose["services"]["tap"]["environment"])
        env["DIFY_METRIC_TAP_UPSTREAM"] = "https://dify"
        env["DIFY_METRIC_INGEST_TOKEN_FILE"] = str(tmp_path / "key")
        plan = plan_of(load_settings({}, env))
        assert plan.listen.port == int(compose["services"]["tap"]["ports"][0].split(":")[-1])
        assert seconds(compose["services"]["tap"]["stop_grace_period"]) > plan.limits.stop_seconds + 10

    def test_compose_mounts_what_is_there(self):
        (compose,) = documents("compose.yaml")
        mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", ())]
        ours = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
        assert ours
        assert all((DEPLOY / path).exists() for path in ours)

    def test_compose_opens_no_port_to_the_network(self):
        (compose,) = documents("compose.yaml")
        ports = [port for service in compose["services"].values() for port in service["ports"]]
        assert all(port.startswith("127.0.0.1:") for port in ports)

    def test_the_image_copies_only_what_its_context_holds(self):
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        context = {line[1:] for line in lines if line.startswith("!")}
        copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
        copied = {path for line in copies for path in line.split()}
        assert copied == context
        assert all((ROOT / path).exists() for path in copied)

    def test_the_image_runs_as_nobody_special_from_hashed_locks(self):
        text = (DEPLOY / "Dockerfile").read_text()
        assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
        assert text.count("--require-hashes -r") == 2


class TestKubernetes:
    @pytest.fixture
    def by_kind(self) -> dict[str, dict]:
        return {document["kind"]: document for document in documents("kubernetes.yaml")}

    def test_the_settings_in_it_are_taken(self, by_kind: dict[str, dict], tmp_path: Path):
        text = by_kind["ConfigMap"]["data"]["dify-metric.toml"]
        (tmp_path / "key").write_text("secret")
        file = tmp_path / "dify-metric.toml"
        file.write_text(re.sub(r"/run/secrets/dify-metric/\w+", str(tmp_path / "key"), text))
        settings = load_settings({"listen": "0.0.0.0:9180"}, {}, file)
        assert (settings.sign_in, settings.is_open) == ("admin key", False)
        assert set(settings.tokens) == {Scope.ADMIN, Scope.METRICS, Scope.INGEST}

    def test_one_pod_owns_the_store(self, by_kind: dict[str, dict]):
        assert by_kind["StatefulSet"]["spec"]["replicas"] == 1

    def test_everything_mounted_is_declared(self, by_kind: dict[str, dict]):
        spec = by_kind["StatefulSet"]["spec"]
        pod = spec["template"]["spec"]
        declared = {one["name"] for one in pod["volumes"]}
        declared |= {one["metadata"]["name"] for one in spec["volumeClaimTemplates"]}
        assert {one["name"] for one in pod["containers"][0]["volumeMounts"]} == declared

    def test_the_service_finds_the_pod(self, by_kind: dict[str, dict]):
        labels = by_kind["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
        assert by_kind["Service"]["spec"]["selector"] == labels


class TestKubernetesTap:
    @pytest.fixture
    def by_kind(self) -> dict[str, dict]:
        return {document["kind"]: document for document in documents("kubernetes-tap.yaml")}

    def test_the_settings_in_it_are_taken(self, by_kind: dict[str, dict], tmp_path: Path):
        (tmp_path / "key").write_text("secret")
        file = tmp_path / "tap.toml"
        text = by_kind["ConfigMap"]["data"]["tap.toml"]
        file.write_text(re.sub(r"/run/secrets/dify-metric/\w+", str(tmp_path / "key"), text))
        settings = load_settings({}, {}, file)
        spec = by_kind["StatefulSet"]["spec"]["template"]["spec"]
        ports = {one["name"]: one["containerPort"] for one in spec["containers"][0]["ports"]}
        assert ports == {"http": settings.tap_listen.port, "admin": settings.tap_admin.port}
        assert spec["terminationGracePeriodSeconds"] > plan_of(settings).limits.stop_seconds + 10
        assert settings.ingest_token is not None

    def test_everything_mounted_is_declared_and_found(self, by_kind: dict[str, dict]):
        spec = by_kind["StatefulSet"]["spec"]
        pod = spec["template"]["spec"]
        declared = {one["name"] for one in (*pod["volumes"], *(c["metadata"] for c in spec["volumeClaimTemplates"]))}
        assert {one["name"] for one in pod["containers"][0]["volumeMounts"]} == declared
        labels = spec["template"]["metadata"]["labels"]
        assert by_kind["Service"]["spec"]["selector"] == labels
        assert by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels


class TestTheOperator:
    """What its custom resources name is in the other manifests."""

    def test_scrapes_the_service_with_a_key_it_has(self):
        monitor = documents("servicemonitor.yaml")[0]
        (service,) = [each for each in documents("kubernetes.yaml") if each["kind"] == "Service"]
        (endpoint,) = monitor["spec"]["endpoints"]
        assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
        assert [endpoint["port"]] == [port["name"] for port in service["spec"]["ports"]]
        secret = endpoint["authorization"]["credentials"]
        head = (DEPLOY / "kubernetes.yaml").read_text().partition("apiVersion")[0]
        assert f"create secret generic {secret['name']} " in head
        assert f"--from-literal={secret['key']}=" in head

    def test_scrapes_every_tap_at_its_own_port(self):
        monitor = documents("servicemonitor.yaml")[1]
        (tap,) = [each for each in documents("kubernetes-tap.yaml") if each["kind"] == "StatefulSet"]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        pod = tap["spec"]["template"]
        assert monitor["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
        ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        assert endpoint["port"] in ports
        assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(ports[endpoint["port"]])

    def test_annotations_name_the_port_that_is_there(self):
        (service,) = [each for each in documents("kubernetes.yaml") if each["kind"] == "Service"]
        (port,) = service["spec"]["ports"]
        assert service["metadata"]["annotations"]["prometheus.io/port"] == str(port["port"])


def seconds(written: str) -> int:
    """330s"""
    return int(written.removesuffix("s"))


def test_nginx_takes_the_snippet(server: Callable[[str], str], tmp_path: Path):
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; "
        f"client_body_temp_path {tmp_path}; proxy_temp_path {tmp_path}; fastcgi_temp_path {tmp_path}; "
        f"uwsgi_temp_path {tmp_path}; scgi_temp_path {tmp_path}; include {DEPLOY}/nginx-tap.conf; }}"
    )
    line = [server("nginx"), "-t", "-q", "-p", tmp_path, "-c", tmp_path / "nginx.conf"]
    checked = subprocess.run(line, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_prometheus_takes_its_configuration(server: Callable[[str], str]):
    checked = subprocess.run(
        [server("promtool"), "check", "config", DEPLOY / "prometheus.yml"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


def test_prometheus_finds_the_rules_that_compose_mounts():
    (compose,) = documents("compose.yaml")
    (config,) = documents("prometheus.yml")
    mounts = [mount.split(":") for mount in compose["services"]["prometheus"]["volumes"]]
    (outside,) = [outside for outside, inside, *_ in mounts if [f"{inside}/*.yaml"] == config["rule_files"]]
    assert {file.name for file in (DEPLOY / outside).glob("*.yaml")} == {"alerts.yaml", "recording.yaml"}


def test_prometheus_asks_where_compose_serves():
    (config,) = documents("prometheus.yml")
    itself, taps = config["scrape_configs"]
    assert itself["static_configs"] == [{"targets": ["dify-metric:9180"]}]
    (found,) = taps["http_sd_configs"]
    assert found["url"] == "http://dify-metric:9180/api/v1/prometheus/targets"


class TestGrafana:
    @pytest.fixture
    def mounts(self) -> dict[str, str]:
        """Where compose puts what, in Grafana's container."""
        (compose,) = documents("compose.yaml")
        pairs = (mount.split(":") for mount in compose["services"]["grafana"]["volumes"])
        return {inside: outside for outside, inside, *_ in pairs}

    def test_finds_the_dashboards(self, mounts: dict[str, str]):
        (provisioned,) = documents("grafana/dashboards/dify-metric.yaml")
        ((inside, outside),) = [(there, here) for there, here in mounts.items() if "dashboards" in here]
        folders = {provider["options"]["path"].replace(inside, outside) for provider in provisioned["providers"]}
        assert {(DEPLOY / folder).resolve() for folder in folders} == {
            folder.parent for folder in (ROOT / "dashboards").rglob("*.json")
        }
        assert len({provider["name"] for provider in provisioned["providers"]}) == len(provisioned["providers"])

    def test_is_provisioned_from_the_folders_it_looks_into(self, mounts: dict[str, str]):
        folder = DEPLOY / mounts["/etc/grafana/provisioning"]
        assert {each.name for each in folder.iterdir()} <= {"datasources", "dashboards", "alerting", "plugins"}

    def test_asks_the_prometheus_that_compose_starts(self):
        (compose,) = documents("compose.yaml")
        (provisioned,) = documents("grafana/datasources/prometheus.yaml")
        (source,) = provisioned["datasources"]
        host, _, port = source["url"].removeprefix("http://").partition(":")
        assert port == compose["services"][host]["ports"][0].split(":")[-1]

    def test_asks_the_collector_that_compose_starts(self):
        (compose,) = documents("compose.yaml")
        (provisioned,) = documents("grafana/datasources/dify-metric.yaml")
        (source,) = provisioned["datasources"]
        host, _, port = source["url"].removeprefix("http://").partition(":")
        assert compose["services"][host]["ports"][0].split(":")[-1] == port
        assert compose["services"]["grafana"]["environment"]["GF_PLUGINS_PREINSTALL"] == source["type"]
        assert source["type"] == REST["type"]

    def test_knows_how_often_is_scraped(self):
        """`$__rate_interval` is made of it: too short, and panels stay empty."""
        (prometheus,) = documents("prometheus.yml")
        (provisioned,) = documents("grafana/datasources/prometheus.yaml")
        (source,) = provisioned["datasources"]
        assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]


@pytest.mark.parametrize("name", ["dify-metric.service", "dify-metric-tap.service"])
def test_systemd_has_nothing_to_say_about_the_unit(name: str, tmp_path: Path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd here; it is no part of what the tests install")
    unit = tmp_path / name
    text = (DEPLOY / name).read_text()
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    said = subprocess.run([analyze, "verify", unit], capture_output=True, text=True)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")  # it exits 0 on keys it does not know
