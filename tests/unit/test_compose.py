from __future__ import annotations

import json
import re
import tomllib
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.engines.compose import FILE, local

REPO = FILE.parent
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW = {name: service for name, service in SERVICES.items() if service["image"] == "airflow-provider-automl:local"}

# Of the compose specification, what is used here; a new key has to be looked up there first.
TOP_LEVEL = {"configs", "name", "services", "volumes", "x-airflow", "x-s3"}
SERVICE = {
    "build", "command", "configs", "depends_on", "entrypoint", "environment", "healthcheck", "image", "init",
    "mem_limit", "ports", "restart", "stop_grace_period", "volumes",
}  # fmt: skip
HEALTHCHECK = {"interval", "retries", "start_period", "test", "timeout"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
DURATION = re.compile(r"(\d+h)?(\d+m)?(\d+s)?")


def test_keys_are_of_the_compose_specification() -> None:
    assert set(COMPOSE) <= TOP_LEVEL
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", COMPOSE["name"])
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)
        assert set(service) <= SERVICE
        assert service["restart"] in {"no", "always", "on-failure", "unless-stopped"}
        assert all(isinstance(part, str) for key in ("command", "entrypoint") for part in service.get(key, []))
        assert all(set(config) == {"source", "target"} for config in service.get("configs", []))
        assert re.fullmatch(r"\d+[bkmg]", local(service.get("mem_limit", "1g")))
        assert all(isinstance(value, str) for value in service.get("environment", {}).values())
        assert set(service.get("build", {})) <= {"context", "dockerfile_inline"}
        if check := service.get("healthcheck"):
            assert set(check) <= HEALTHCHECK
            assert check["test"][0] in {"CMD", "CMD-SHELL"}
            assert all(DURATION.fullmatch(check[key]) for key in set(check) - {"retries", "test"})
    assert all(set(config) == {"content"} for config in COMPOSE["configs"].values())


def test_services() -> None:
    assert set(SERVICES) == {
        "postgres", "mail", "s3", "metastore", "trino", "init", "api-server", "scheduler", "dag-processor",
    }  # fmt: skip
    assert set(AIRFLOW) == {"init", "api-server", "scheduler", "dag-processor"}
    assert [name for name, service in SERVICES.items() if "healthcheck" not in service] == ["init"]


def test_dependencies_are_services_and_can_reach_the_condition() -> None:
    for service in SERVICES.values():
        for name, dependency in service.get("depends_on", {}).items():
            assert dependency["condition"] in CONDITIONS
            assert name in SERVICES
            if dependency["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]
            if dependency["condition"] == "service_completed_successfully":
                assert SERVICES[name]["restart"] == "no"


def test_ports_are_bound_on_loopback() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


def test_volumes_are_declared_or_in_the_checkout() -> None:
    used = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert {name for name in used if not name.startswith("./")} == set(COMPOSE["volumes"])
    assert all((REPO / name).is_dir() for name in used if name.startswith("./"))


def test_configs_are_declared_and_hold_nothing_that_is_not() -> None:
    used = [config for service in SERVICES.values() for config in service.get("configs", [])]
    assert {config["source"] for config in used} == set(COMPOSE["configs"])
    for config in used:
        assert PurePosixPath(config["target"]).name == config["source"]
        text = local(COMPOSE["configs"][config["source"]]["content"])
        if config["source"].endswith(".properties"):
            lines = [line for line in text.splitlines() if not line.startswith("#")]
            assert all(re.fullmatch(r"[a-z0-9.-]+=\S+", line) for line in lines)
            for name in re.findall(r"\$\{ENV:(\w+)\}", text):
                assert name in SERVICES["trino"]["environment"]
        if config["source"].endswith(".xml"):
            assert {each.tag for each in ElementTree.fromstring(text)} == {"property"}


def test_images_are_pinned() -> None:
    for name, service in SERVICES.items():
        assert ":" in service["image"], name
        assert not service["image"].endswith(":latest")


def test_the_image_holds_the_tested_airflow_and_copies_what_exists() -> None:
    recipe = AIRFLOW["init"]["build"]["dockerfile_inline"]
    sources = [word for line in re.findall(r"^COPY (.*)$", recipe, re.MULTILINE) for word in line.split()[:-1]]
    assert all((REPO / source).exists() for source in sources)
    assert {"constraints.txt", "airflow_provider_automl", "dags"} <= set(sources)
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"]} <= set(sources), "the build needs them"
    assert "--constraint constraints.txt '.[all]'" in recipe
    assert "apache-airflow==3.3.2" in (REPO / "constraints.txt").read_text().splitlines()
    assert all(service["build"] == AIRFLOW["init"]["build"] for service in AIRFLOW.values())


@pytest.mark.parametrize("name", AIRFLOW)
def test_airflow_knows_the_command(name: str) -> None:
    from airflow.cli.cli_parser import get_parser

    command = AIRFLOW[name]["command"]
    assert command[0] == "airflow"
    assert callable(get_parser().parse_args(command[1:]).func)


def test_airflow_knows_the_health_command() -> None:
    from airflow.cli.cli_parser import get_parser

    kind, command = AIRFLOW["dag-processor"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert callable(get_parser().parse_args(local(command).replace('"', "").split()[1:]).func)


def test_airflow_knows_every_setting() -> None:
    from airflow.configuration import conf

    for name, value in AIRFLOW["scheduler"]["environment"].items():
        local(value)
        if setting := re.fullmatch(r"AIRFLOW__([A-Z_]+?)__([A-Z_]+)", name):
            section, option = (part.lower() for part in setting.groups())
            assert option in conf.configuration_description[section]["options"], name


def test_one_environment_and_one_secret_everywhere() -> None:
    assert all(service["environment"] == AIRFLOW["init"]["environment"] for service in AIRFLOW.values())
    environment = {name: local(value) for name, value in AIRFLOW["init"]["environment"].items()}
    assert len(environment["AIRFLOW__API_AUTH__JWT_SECRET"]) >= 64, "shorter ones are refused or warned about"
    password = local(SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"])
    assert f"airflow:{password}@postgres:5432/airflow" in environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert (
        SERVICES["trino"]["environment"]["POSTGRES_PASSWORD"]
        == SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"]
    )


def test_one_pair_of_keys_for_the_object_storage() -> None:
    keys = COMPOSE["x-s3"]
    for service in ("metastore", "trino", *AIRFLOW):
        assert keys.items() <= SERVICES[service]["environment"].items()
    root = SERVICES["s3"]["environment"]
    assert root["ROOT_ACCESS_KEY"] == keys["AWS_ACCESS_KEY_ID"]
    assert root["ROOT_SECRET_KEY"] == keys["AWS_SECRET_ACCESS_KEY"]
    assert local(keys["AWS_SECRET_ACCESS_KEY"], {"S3_SECRET_KEY": "other"}) == "other"


@pytest.mark.parametrize(
    ("given", "warehouse"),
    [
        ({}, "trino_default"),
        ({"AUTOML_WAREHOUSE": "iceberg_default"}, "iceberg_default"),
        ({"AUTOML_WAREHOUSE": ""}, ""),
    ],
)
def test_the_warehouse_is_trino_unless_told(given: dict[str, str], warehouse: str) -> None:
    environment = AIRFLOW["scheduler"]["environment"]
    extra = json.loads(local(environment["AIRFLOW_CONN_AUTOML_DEFAULT"], given))["extra"]
    assert extra["warehouse_conn_id"] == warehouse
    scheme, connection, bucket = re.fullmatch(r"(\w+)://(\w+)@(\w+)/staging", extra["staging"]).groups()  # type: ignore[union-attr]
    assert scheme == "s3"
    assert f"/data/{bucket} " in SERVICES["s3"]["entrypoint"][2]
    storage = json.loads(environment[f"AIRFLOW_CONN_{connection.upper()}"])
    assert storage["extra"]["endpoint_url"] == "http://s3:7070"
    if warehouse:
        server = json.loads(environment[f"AIRFLOW_CONN_{warehouse.upper()}"])
        assert (server["conn_type"], server["host"], server["port"]) == ("trino", "trino", 8080)
        assert f"{server['extra']['catalog']}.properties" in COMPOSE["configs"]


def test_hosts_are_services() -> None:
    texts = [local(config["content"]) for config in COMPOSE["configs"].values()]
    hosts = {host for text in texts for host in re.findall(r"(?:thrift|http|postgresql)://([\w-]+):\d+", text)}
    assert hosts == {"metastore", "s3", "postgres"}


def test_mail_goes_to_the_catcher() -> None:
    connection = json.loads(AIRFLOW["scheduler"]["environment"]["AIRFLOW_CONN_SMTP_DEFAULT"])
    assert connection["conn_type"] == "smtp"
    assert connection["host"] in SERVICES
    assert connection["extra"]["disable_tls"]
    assert connection["extra"]["from_email"]
