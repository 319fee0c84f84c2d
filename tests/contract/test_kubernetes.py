"""The resources for Kubernetes: against its schemas, against the command line, against settings."""

import copy
import subprocess
import sys
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from connectors.settings import METRICS_PORTS, Settings, variable
from deploy.supervisor import DRAIN_SECONDS, ROLES
from tests.measuring import measuring

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSIONS = ("1.28", "1.37")
RESOURCES = [
    pytest.param(resource, id=f"{path.stem}-{resource['kind']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for resource in yaml.safe_load_all(path.read_text())
]
ALL = [one.values[0] for one in RESOURCES]
WORKLOADS = [one for one in ALL if "template" in one.get("spec", {})]


def named(kind: str, name: str) -> dict:
    (found,) = [r for r in ALL if r["kind"] == kind and r["metadata"]["name"] == name]
    return found


def container(workload: dict) -> dict:
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    return only


@cache
def help_of(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli.main", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "PATH": "", **measuring()},
    )
    return done.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("resource", RESOURCES)
def test_every_resource_follows_the_schemas(resource, version):
    kubernetes_validate.validate(resource, version, strict=True)


def test_a_broken_resource_would_be_noticed():
    broken = copy.deepcopy(named("StatefulSet", "settler-flow"))
    container(broken)["arg"] = container(broken).pop("args")
    with pytest.raises(kubernetes_validate.ValidationError, match="arg"):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_kustomize_has_every_role_and_no_secret():
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert all((FOLDER / one).exists() for one in listed)
    apart = {"kustomization.yaml", "secret.example.yaml", "migrate-pre.yaml", "migrate-post.yaml"}
    assert set(listed) | apart == {path.name for path in FOLDER.glob("*.yaml")}


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one["metadata"]["name"])
def test_the_commands_exist_with_their_options(workload):
    arguments = container(workload)["args"]
    options = [one for one in arguments if one.startswith("--")]
    command = arguments[: arguments.index(options[0])] if options else arguments
    shown = help_of(*command)
    assert "Example: " in shown
    assert all(option in shown for option in options)


def test_every_role_runs_and_both_steps_of_migrations():
    commands = {tuple(container(one)["args"]) for one in WORKLOADS}
    assert {("migrate", "--only", "pre"), ("migrate", "--only", "post")} < commands
    assert {one[1] for one in commands if one[0] == "run"} == set(ROLES)
    compose = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text())
    image = compose["x-settler"]["image"]
    assert {container(one)["image"] for one in WORKLOADS} == {image}


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one["metadata"]["name"])
def test_the_environment_is_made_of_settings_that_hold(workload, monkeypatch, tmp_path):
    known = {variable(field) for field in Settings.model_fields}
    secret = named("Secret", "settler")["stringData"]
    values = dict(named("ConfigMap", "settler")["data"])
    assert container(workload)["envFrom"] == [{"configMapRef": {"name": "settler"}}]
    for one in container(workload)["env"]:
        if "value" in one:
            values[one["name"]] = one["value"]
        elif "secretKeyRef" in one["valueFrom"]:
            reference = one["valueFrom"]["secretKeyRef"]
            assert reference["name"] == "settler"
            values[one["name"]] = secret[reference["key"]]
        else:
            # Not ours to read, but to stand in an argument.
            assert f"$({one['name']})" in container(workload)["args"]
    assert set(values) <= known
    monkeypatch.chdir(tmp_path)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    login = {"flow": "flow", "projections": "projections", "publish": "projections", "api": "api"}
    role = container(workload)["args"][1]
    if role in login:
        url = getattr(settings, f"database_url_{login[role]}")
        assert url == secret[login[role]], "each role logs in as itself"
        assert variable("database_url") not in values, "only migrations are the owner's"
    if role == "api":
        assert settings.api_key_pepper


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one["metadata"]["name"])
def test_pods_have_no_rights_they_do_not_need(workload):
    pod = workload["spec"]["template"]["spec"]
    one = container(workload)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] >= 1000
    assert pod["automountServiceAccountToken"] is False
    # A service `settler-api` would set SETTLER_API_PORT=tcp://…, which is a setting of ours.
    assert pod["enableServiceLinks"] is False
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    # All that is written to is what the image's working directory is.
    assert one["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert one["resources"]["requests"].keys() == {"cpu", "memory"}
    assert one["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("role", ROLES)
def test_probes_and_policies_ask_where_the_role_listens(role):
    kind = "StatefulSet" if role == "flow" else "Deployment"
    workload = named(kind, f"settler-{role}")
    ports = {one["name"]: one["containerPort"] for one in container(workload)["ports"]}
    name, path = ("http", "/health/live") if role == "api" else ("metrics", "/metrics")
    wanted = Settings.model_fields["api_port"].default if role == "api" else METRICS_PORTS[role]
    assert ports[name] == wanted
    for probe in ("startupProbe", "livenessProbe"):
        assert container(workload)[probe]["httpGet"] == {"path": path, "port": name}
    policy = named("NetworkPolicy", f"settler-{role}")["spec"]
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert policy["policyTypes"] == ["Ingress"]
    opened = {
        port["port"]: rule.get("from") for rule in policy["ingress"] for port in rule["ports"]
    }
    assert opened.keys() == ports.keys()
    if role == "flow":
        assert opened["workers"] == [{"podSelector": {"matchLabels": labels}}]
    grace = workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > 2 * DRAIN_SECONDS


def test_the_flow_has_an_address_for_each_of_its_pods():
    workload, service = named("StatefulSet", "settler-flow"), named("Service", "settler-flow")
    arguments = container(workload)["args"]
    ports = {one["name"]: one["containerPort"] for one in container(workload)["ports"]}
    assert arguments[arguments.index("--addresses") + 1].split(";") == [
        f"{workload['metadata']['name']}-{place}.{service['metadata']['name']}:{ports['workers']}"
        for place in range(workload["spec"]["replicas"])
    ]
    assert workload["spec"]["serviceName"] == service["metadata"]["name"]
    assert workload["spec"]["podManagementPolicy"] == "Parallel"
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"]
    holders = [one.get("value") for one in container(workload)["env"] if "HOLDER" in one["name"]]
    assert holders == ["settler-flow"]


def test_selectors_find_their_pods():
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in WORKLOADS]
    for resource in ALL:
        spec = resource.get("spec", {})
        if resource["kind"] in ("StatefulSet", "Deployment", "PodDisruptionBudget"):
            assert spec["selector"]["matchLabels"] in labels
        elif resource["kind"] == "Service":
            assert spec["selector"] in labels
    assert {r["metadata"]["name"] for r in ALL if r["kind"] == "PodDisruptionBudget"} == {
        "settler-flow",
        "settler-api",
    }
