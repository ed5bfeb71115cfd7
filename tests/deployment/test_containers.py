"""Dockerfile, compose.yaml and kubernetes.yaml are written with care, fit each other, and fit the gateway."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from typing import Any

import pytest

import ai_gateway
from ai_gateway.environment import VARIABLES
from tests.deployment.containers import (
    ROOT,
    read_compose,
    read_dockerfile,
    read_environment,
    read_kubernetes,
    seconds,
)
from tests.deployment.proxies import SAMPLES
from tests.variables import variable_names

IMAGE = f"gateway:{ai_gateway.__version__}"
LAST_WORDS = 10
"""Seconds that a process may need after its calls have ended."""

DOCKERFILE = read_dockerfile()
COMPOSE = read_compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
GATEWAYS = [name for name in SERVICES if name.startswith("gateway-")]
LASTING = [name for name in SERVICES if name != "migrate"]
OBJECTS = read_kubernetes()
PODS: dict[str, dict[str, Any]] = {kind: OBJECTS[kind]["spec"]["template"]["spec"] for kind in ("Job", "Deployment")}
PORT = "3000"

KNOWN = {
    *variable_names(),
    *re.findall(r'(?:text|flag)\(\s*"([A-Z_]+)"', (ROOT / "example_project" / "settings.py").read_text("utf-8")),
    "AI_GATEWAY_ENCRYPTION_KEYS",
    "HOST",
    "PORT",
    "FORWARDED_ALLOW_IPS",  # uvicorn's
}
"""The variables that the example project reads."""


def all_of(name: str) -> list[str]:
    """What the Dockerfile says in all instructions of a name."""
    return [each.text for each in DOCKERFILE if each.name == name]


# Dockerfile


def test_the_base_is_one_version_of_python_that_is_supported() -> None:
    bases = {text.split()[0] for text in all_of("FROM")}
    assert len(bases) == 1
    (version,) = re.findall(r"^python:(3\.\d+)-slim-\w+$", bases.pop())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]


def test_what_is_copied_is_there_and_nothing_else_gets_into_the_build() -> None:
    copied = [word for text in all_of("COPY") if "--from" not in text for word in text.split()[:-1]]
    rules = (SAMPLES / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert rules[1] == "*"
    let_in = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_has_what_the_package_is_built_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert needed <= set(" ".join(all_of("COPY")).split())


def test_the_extras_that_are_installed_exist() -> None:
    (extras,) = re.findall(r"pip install --no-cache-dir '\.\[([a-z,]+)\]'", " ".join(all_of("RUN")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"server", "postgres", "redis"} <= set(extras.split(",")) <= set(project["optional-dependencies"])


def test_the_image_runs_as_nobody_in_particular_and_signals_reach_the_gateway() -> None:
    assert [instruction.name for instruction in DOCKERFILE if instruction.name in ("USER", "CMD")] == ["USER", "CMD"]
    assert all(part.isdigit() and int(part) > 0 for part in all_of("USER")[0].split(":"))
    assert json.loads(all_of("CMD")[0])[:3] == ["python", "manage.py", "rungateway"]
    assert all_of("STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(all_of("HEALTHCHECK")[0].split("CMD", 1)[1])[0] == "python"


def test_the_image_knows_no_secret() -> None:
    assert not all_of("ARG")
    names = re.findall(r"([A-Z_]+)=", " ".join(all_of("ENV")))
    assert {name for name in names if not name.startswith("PYTHON")} == {"PATH", "HOST", "PORT"}


# compose.yaml


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_what_it_must_and_no_more(name: str) -> None:
    service = SERVICES[name]
    assert service["user"].split(":")[0] not in ("", "0", "root")
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert "privileged" not in service
    assert "network_mode" not in service
    assert not any("docker.sock" in volume for volume in service.get("volumes", ()))


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_a_version(name: str) -> None:
    image, tag = SERVICES[name]["image"].split(":")
    assert re.match(r"\d", tag)
    assert image != "gateway" or f"{image}:{tag}" == IMAGE


@pytest.mark.parametrize("name", LASTING)
def test_what_shall_last_is_watched_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["logging"]["options"]["max-size"]


def test_the_tables_are_made_once_before_a_gateway_starts() -> None:
    migrate = SERVICES["migrate"]
    assert (migrate["restart"], migrate["command"][:3]) == ("no", ["python", "manage.py", "migrate"])
    for name in GATEWAYS:
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert SERVICES[name]["build"] == migrate["build"]
    build = migrate["build"]
    assert (SAMPLES / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == SAMPLES / "Dockerfile"


def test_no_secret_stands_in_the_file_and_none_has_a_default() -> None:
    text = (SAMPLES / "compose.yaml").read_text("utf-8")
    asked = set(re.findall(r"\$\{([A-Z_]+):\?see env\.example\}", text))
    # `$$NAME` is for the shell in the container.
    assert len(re.findall(r"(?<!\$)\$(?!\$)", text)) == len(re.findall(r"\$\{[A-Z_]+:\?see env\.example\}", text))
    assert all(value == "" for name, value in read_environment().items() if name in asked)
    to_be_filled_in = (SAMPLES / "env.example").read_text("utf-8").split("# ---", 1)[0]
    assert set(re.findall(r"^([A-Z_]+)=$", to_be_filled_in, re.MULTILINE)) == asked
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEYS?$|_URL$", name):
                assert "${" in value, name
            if "://" in value:
                assert re.fullmatch(r"\w+://\w*:\$\{\w+:\?see env\.example\}@[\w:/]+", value), name


def test_variables_are_ones_that_somebody_reads() -> None:
    for name in [*GATEWAYS, "migrate"]:
        assert set(SERVICES[name]["environment"]) <= KNOWN
    proxy = SERVICES["proxy"]["environment"]
    assert set(proxy) == set(re.findall(r"\{\$([A-Z]+):", (SAMPLES / "Caddyfile").read_text("utf-8")))
    text = (SAMPLES / "compose.yaml").read_text("utf-8")
    assert all(name in KNOWN or f"${{{name}:" in text for name in read_environment())


@pytest.mark.parametrize("name", GATEWAYS)
def test_calls_may_end_before_a_gateway_is_killed(name: str) -> None:
    service = SERVICES[name]
    delay, timeout = (float(service["environment"][variable]) for variable in ("DRAIN_DELAY", "DRAIN_TIMEOUT"))
    assert seconds(service["stop_grace_period"]) >= delay + timeout + LAST_WORDS
    (interval,) = re.findall(r"health_interval (\d+)s", (SAMPLES / "Caddyfile").read_text("utf-8"))
    assert delay >= 3 * int(interval)


def test_ports_and_addresses_agree() -> None:
    assert all_of("EXPOSE") == [PORT]
    assert f"PORT={PORT}" in all_of("ENV")[0].split()
    assert f":{PORT}/health'" in all_of("HEALTHCHECK")[0]
    assert SERVICES["proxy"]["environment"]["GATEWAYS"].split() == [f"{name}:{PORT}" for name in GATEWAYS]
    assert all(f":{PORT}/health/ready'" in SERVICES[name]["healthcheck"]["test"][-1] for name in GATEWAYS)
    environment = SERVICES[GATEWAYS[0]]["environment"]
    for variable in ("DATABASE_URL", "REDIS_URL"):
        assert environment[variable].rsplit("@", 1)[1].split(":")[0] in SERVICES


def test_the_word_of_the_proxy_is_taken_and_nobody_elses() -> None:
    (shared,) = set(SERVICES["proxy"]["networks"]) & set(SERVICES[GATEWAYS[0]]["networks"])
    (address,) = COMPOSE["networks"][shared]["ipam"]["config"]
    assert SERVICES[GATEWAYS[0]]["environment"]["FORWARDED_ALLOW_IPS"] == address["subnet"]
    assert {name for name in SERVICES if shared in SERVICES[name]["networks"]} == {*GATEWAYS, "migrate", "proxy"}


def test_callers_reach_the_proxy_alone() -> None:
    assert [name for name in SERVICES if "ports" in SERVICES[name]] == ["proxy"]
    for name in ("postgres", "redis"):
        assert all(COMPOSE["networks"][network]["internal"] for network in SERVICES[name]["networks"])


def test_what_must_survive_is_on_a_volume() -> None:
    (journal,) = json.loads(all_of("VOLUME")[0])
    assert all(SERVICES[name]["volumes"] == [f"journal:{journal}"] for name in GATEWAYS)
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    assert {volume.split(":")[0] for volume in volumes} == {*COMPOSE["volumes"], "./Caddyfile"}


@pytest.mark.skipif(not shutil.which("caddy"), reason="Caddy is not installed")
def test_caddy_takes_the_site_and_the_gateways_from_the_environment() -> None:
    environment = {"SITE": "ai.example.org", "TLS": "ops@example.org"}
    environment["GATEWAYS"] = SERVICES["proxy"]["environment"]["GATEWAYS"]
    command = ["caddy", "adapt", "--adapter", "caddyfile", "--config", str(SAMPLES / "Caddyfile")]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    assert set(re.findall(r'"dial":"([^"]+)"', done.stdout)) == set(environment["GATEWAYS"].split())
    assert '"host":["ai.example.org"]' in done.stdout
    assert '"email":"ops@example.org"' in done.stdout
    assert "/etc/caddy/" not in done.stdout


# kubernetes.yaml


@pytest.mark.parametrize("kind", PODS)
def test_a_pod_may_do_what_it_must_and_no_more(kind: str) -> None:
    pod = PODS[kind]
    (user,) = all_of("USER")
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == user
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert container["image"].endswith(f"/{IMAGE}")


def test_the_version_is_in_the_name_of_the_job() -> None:
    assert OBJECTS["Job"]["metadata"]["name"].endswith(ai_gateway.__version__.replace(".", "-"))


def test_the_variables_of_a_pod_are_ones_that_somebody_reads_and_none_is_secret() -> None:
    (container,) = PODS["Deployment"]["containers"]
    names = {entry["name"] for entry in container["env"]}
    assert names <= KNOWN
    assert not any(re.search("KEY|SECRET|PASSWORD|TOKEN|URL", name) for name in names)
    text = (SAMPLES / "kubernetes.yaml").read_text("utf-8")
    assert {"SECRET_KEY", "DATABASE_URL", "AI_GATEWAY_ENCRYPTION_KEYS"} <= set(re.findall("[A-Z_]{6,}", text)) & KNOWN


def test_kubernetes_waits_long_enough() -> None:
    pod = PODS["Deployment"]
    (container,) = pod["containers"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert {"DRAIN_DELAY", "DRAIN_TIMEOUT"} <= set(variables) & set(VARIABLES)
    delay, timeout = float(variables["DRAIN_DELAY"]), float(variables["DRAIN_TIMEOUT"])
    assert pod["terminationGracePeriodSeconds"] >= delay + timeout + LAST_WORDS
    probe = container["readinessProbe"]
    assert delay > probe["periodSeconds"] * probe["failureThreshold"]


def test_kubernetes_asks_the_right_port_for_the_right_thing() -> None:
    (container,) = PODS["Deployment"]["containers"]
    (port,) = container["ports"]
    assert str(port["containerPort"]) == PORT
    asked = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")}
    assert asked == {"startup": "/health/ready", "readiness": "/health/ready", "liveness": "/health"}
    assert {container[f"{probe}Probe"]["httpGet"]["port"] for probe in asked} == {port["name"]}
    assert OBJECTS["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]


def test_everything_in_the_cluster_is_about_the_same_pods() -> None:
    labels = OBJECTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert OBJECTS["Deployment"]["spec"]["selector"] == {"matchLabels": labels}
    assert OBJECTS["Service"]["spec"]["selector"] == labels
    assert OBJECTS["PodDisruptionBudget"]["spec"]["selector"] == {"matchLabels": labels}
    assert OBJECTS["Job"]["spec"]["template"]["metadata"]["labels"] != labels


def test_the_gateway_can_write_where_it_must_in_a_pod() -> None:
    pod = PODS["Deployment"]
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    (journal,) = json.loads(all_of("VOLUME")[0])
    assert {path for path, mount in mounts.items() if not mount.get("readOnly")} == {journal, "/tmp"}
    assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in pod["volumes"]}
