"""The compose file: what each service may take, and what is not in it."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from lib.settings import ROOT, Settings
from serving.http.metrics import Metrics

COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_bounded_in_all_it_takes(name):
    service = SERVICES[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["pids_limit"] > 0
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["security_opt"] == ["no-new-privileges:true"]
    if name != "postgres":
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_reached_on_this_host_only_and_names_its_image_by_version(name):
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")
    image = SERVICES[name]["image"]
    assert image.startswith("localhost/") or re.search(r":v?\d", image)


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_files_and_settings_are_known(name):
    service = SERVICES[name]
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    if service["image"].startswith("localhost/") and name != "mlflow":
        ours = {key.lower() for key in service["environment"]} | set(service["secrets"])
        assert ours <= set(Settings.model_fields)
    for key in service.get("environment", {}):
        assert not re.search("PASSWORD$|KEYS$|URL$|STORAGE$", key)


def test_script_makes_every_secret():
    script = (ROOT / "deploy" / "secrets.sh").read_text()
    assert set(re.findall(r"^keep (\w+)", script, re.MULTILINE)) == set(COMPOSE["secrets"])


def test_nobody_reaches_mlflow_but_its_door():
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert {n for n, nets in networks.items() if nets & networks["mlflow"]} == {
        "mlflow",
        "postgres",
        "registry",
    }
    assert "ports" not in SERVICES["mlflow"]
    for name in ("api", "worker"):
        assert "mlflow_tracking_uri" not in SERVICES[name]["secrets"]
        assert SERVICES[name]["environment"]["MLFLOW_TRACKING_URI"].endswith(":5001")
    for name in ("monitor", "train"):
        assert "mlflow_tracking_uri" in SERVICES[name]["secrets"]


def test_what_a_service_reads_is_there():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / "deploy" / source).is_file()
            elif ":" in volume:
                assert source in COMPOSE["volumes"]


def metrics_of(expression):
    """The names of the metrics in a query, without what Prometheus appends to them."""
    words = re.findall(
        r"[a-z_]{4,}(?=[{\[\s)]|$)", re.sub(r"\{[^}]*\}|by \([^)]*\)", "", expression)
    )
    return {re.sub("_(total|bucket)$", "", word) for word in words} - NOT_METRICS


NOT_METRICS = {"rate", "increase", "time", "histogram_quantile"}
OURS = {family.name for family in text_string_to_metric_families(Metrics().text().decode())} | {
    "up"
}


def test_alert_rules_and_dashboard_are_about_metrics_that_are_there():
    rules = yaml.safe_load((ROOT / "deploy" / "compose" / "rules.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert {"ApiDown", "PredictionsNotStored", "DatabaseAlmostFull"} <= {r["alert"] for r in alerts}
    dashboard = json.loads((ROOT / "deploy/compose/grafana/production-lstm.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for expression in [rule["expr"] for rule in alerts] + queries:
        assert metrics_of(expression) <= OURS, expression


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_alert_rules_are_accepted_by_prometheus():
    file = ROOT / "deploy" / "compose" / "rules.yml"
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
