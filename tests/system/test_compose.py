"""The compose file: what each service may take, and what is not in it."""

import re

import pytest
import yaml

from lib.settings import ROOT, Settings

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
