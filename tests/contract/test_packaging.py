"""What is shipped: the wheel, the locked environment, the image, the compose file, the workflow.

No Docker engine is needed: the files are held against the rules they must follow and against the
`settler` command itself.
"""

import ast
import fnmatch
import json
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from importlib.metadata import distributions
from itertools import chain

import jsonschema
import pytest
import yaml

from connectors.settings import PREFIX, Settings, variable
from deploy.bench.match_peers import REQUIREMENTS

PACKAGES = ("domain", "connectors", "projections", "flows", "api", "deploy")
# Pure helpers of the standard library: no clock, no chance, no files, no network, no logging.
PURE = {
    "__future__", "base64", "bisect", "collections", "contextlib", "dataclasses", "datetime",
    "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "heapq", "html", "itertools",
    "json", "math", "operator", "re", "string", "types", "typing", "unicodedata", "uuid", "zlib",
    "zoneinfo", "binascii", "struct", "array", "copy", "numbers", "abc", "sys", "keyword",
}  # fmt: skip
DOMAIN_MAY_IMPORT = PURE | {"domain", "msgspec", "xxhash", "iso4217", "rapidfuzz"}
DOMAIN_MAY_IMPORT |= {"sortedcontainers", "re2"}
# Pure, but not small: whoever imports it has to need it.
NUMPY_IN_DOMAIN = {"instant_columns.py"}
CLOCK_AND_CHANCE = {"now", "utcnow", "today", "uuid1", "uuid4"}


@pytest.fixture(scope="session")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="session")
def compose(repository):
    return yaml.safe_load((repository / "docker-compose.yml").read_text())


@pytest.fixture(scope="session")
def image_steps(repository) -> list[tuple[str, str]]:
    text = (repository / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [tuple(line.split(None, 1)) for line in lines if line and not line.startswith("#")]


@cache
def help_of(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli.main", *command, "--help"],
        capture_output=True,
        text=True,
        check=False,
    )


# The environment ----------------------------------------------------------------------------


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(repository) -> dict[str, str]:
    lines = (repository / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    return {normal(name): version for name, version in pins}


def test_every_dependency_is_pinned_as_the_lock_has_it(repository, project):
    pins = locked(repository)
    extras = project["optional-dependencies"]
    # The peers of a benchmark are pinned, too, but are no part of the environment.
    peers = set(extras["bench"])
    assert peers == set(REQUIREMENTS)
    for requirement in [*project["dependencies"], *chain(*extras.values())]:
        name, version = re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", requirement).groups()
        assert requirement in peers or pins[normal(name)] == version, requirement


def test_what_is_installed_is_what_the_lock_says(repository):
    pins = locked(repository)
    installed = {normal(d.metadata["Name"]): d.version for d in distributions()}
    differing = {n: (pins[n], v) for n, v in installed.items() if n in pins and pins[n] != v}
    assert not differing
    assert not pins.keys() - installed.keys()


def test_the_lock_names_packages_and_no_place_to_get_them(repository):
    for line in (repository / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line


def test_the_project_cannot_be_uploaded_by_mistake(project):
    assert "Private :: Do Not Upload" in project["classifiers"]
    assert project["requires-python"] == ">=3.11,<3.13"


# The wheel ----------------------------------------------------------------------------------


def test_the_wheel_has_the_packages_with_their_data_and_nothing_else(repository, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=repository,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("settler-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in packed} == set(PACKAGES)
    tracked = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=repository, check=True, capture_output=True, text=True
    )
    assert set(tracked.stdout.split()) <= packed
    assert [name for name in packed if name.startswith("connectors/postgres/migrations/0")]


# Imports ------------------------------------------------------------------------------------


def test_the_domain_imports_only_what_is_pure(repository):
    for path in sorted((repository / "domain").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            tops = {name.split(".")[0] for name in names}
            if path.name in NUMPY_IN_DOMAIN:
                tops.discard("numpy")
            assert tops <= DOMAIN_MAY_IMPORT, f"{path} imports {tops - DOMAIN_MAY_IMPORT}"


def test_the_domain_asks_neither_clock_nor_chance(repository):
    for path in sorted((repository / "domain").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert node.attr not in CLOCK_AND_CHANCE, f"{path}:{node.lineno}"


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_stay_short(repository, package):
    for path in sorted((repository / package).rglob("*.py")):
        lines = path.read_text().splitlines()
        assert len(lines) <= 400, f"{path} has {len(lines)} lines"


# Read for every record there is; taken apart, it would be a tenth slower with each call.
LONG_FOR_SPEED = {"read_transactions"}


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_fit_a_screen(repository, package):
    for path in sorted((repository / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name in LONG_FOR_SPEED:
                    continue
                length = node.end_lineno - node.lineno + 1
                assert length <= 70, f"{path}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("package", PACKAGES)
def test_init_modules_hold_a_docstring_only(repository, package):
    for path in (repository / package).rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert ast.get_docstring(ast.parse(path.read_text())), path


# The image ----------------------------------------------------------------------------------


def test_the_image_copies_what_exists_and_is_let_through(repository, image_steps):
    ignore = (repository / ".dockerignore").read_text().split()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    copied = set()
    for step, argument in image_steps:
        words = shlex.split(argument)
        if step == "COPY" and not words[0].startswith("--from"):
            copied.update(words[:-1])
    assert ignore[0] == "*"
    assert copied == allowed == {*PACKAGES, "pyproject.toml", "constraints.txt"}
    assert all((repository / name).exists() for name in copied)


def test_the_image_runs_settler_as_a_user_without_rights(image_steps):
    last_stage = image_steps[max(i for i, (step, _) in enumerate(image_steps) if step == "FROM") :]
    users = [argument for step, argument in last_stage if step == "USER"]
    assert len(users) == 1
    assert int(users[0]) >= 1000
    assert ("ENTRYPOINT", '["settler"]') in last_stage
    assert not [
        argument for step, argument in last_stage if step == "COPY" and "--from" not in argument
    ]


def test_the_image_uses_a_python_that_the_project_allows(image_steps):
    bases = {argument.split()[0] for step, argument in image_steps if step == "FROM"}
    assert len(bases) == 1, "the environment is built with the Python it runs with"
    assert re.fullmatch(r"python:3\.1[12]-slim-\w+", bases.pop())


def test_the_image_installs_exactly_the_locked_dependencies(image_steps, project):
    runs = " ".join(argument for step, argument in image_steps if step == "RUN")
    installs = re.findall(r"pip install ([^&]+)", runs)
    assert all("--constraint constraints.txt" in i or "--no-deps" in i for i in installs)
    script = re.search(r'python -c "(.+?)" > requirements.txt', runs)[1]
    printed = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert printed.stdout.split() == project["dependencies"]


# Compose ------------------------------------------------------------------------------------


def settler_services(compose) -> dict[str, dict]:
    return {n: s for n, s in compose["services"].items() if s["image"].startswith("settler:")}


def test_the_compose_file_follows_the_specification(repository, compose):
    schema = json.loads((repository / "tests/contract/compose_schema.json").read_text())
    jsonschema.validate(compose, schema)


def test_a_broken_compose_file_would_be_noticed(repository, compose):
    schema = json.loads((repository / "tests/contract/compose_schema.json").read_text())
    broken = json.loads(json.dumps(compose))
    broken["services"]["flow"]["comand"] = broken["services"]["flow"].pop("command")
    with pytest.raises(jsonschema.ValidationError, match="comand"):
        jsonschema.validate(broken, schema)


def test_every_role_has_its_service(compose):
    commands = {tuple(service["command"]) for service in settler_services(compose).values()}
    roles = {("run", role) for role in ("flow", "projections", "publish", "api")}
    assert commands == roles | {("migrate",), ("topics", "create")}


def test_every_command_of_compose_exists(compose):
    for name, service in settler_services(compose).items():
        result = help_of(*service["command"])
        assert result.returncode == 0, f"{name}: {result.stderr}"
        assert "Example: " in result.stdout


def test_services_refer_to_what_there_is(compose):
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services, f"{name} depends on {other}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"]


def test_the_environment_of_compose_is_made_of_settings(compose, monkeypatch, tmp_path):
    known = {variable(field) for field in Settings.model_fields}
    monkeypatch.chdir(tmp_path)
    for service in settler_services(compose).values():
        for name, value in service["environment"].items():
            assert name in known
            monkeypatch.setenv(name, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value))
    settings = Settings.load()
    assert settings.kafka_bootstrap_servers == "kafka:9092"
    assert settings.database_url_flow == "postgresql://settler:settler@postgres:5432/settler"
    hosts = {settings.kafka_bootstrap_servers.split(":")[0], "postgres", "redis"}
    assert hosts <= compose["services"].keys()


def test_published_ports_are_where_the_roles_listen(compose, image_steps):
    exposed = " ".join(argument for step, argument in image_steps if step == "EXPOSE").split()
    (api_port,) = compose["services"]["api"]["ports"]
    assert api_port.split(":")[-1] == str(Settings.model_fields["api_port"].default)
    assert api_port.split(":")[-1] in exposed
    outside = compose["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert (
        f"OUTSIDE://localhost:{compose['services']['kafka']['ports'][0].split(':')[-1]}" in outside
    )


def test_nothing_listens_beyond_this_machine_unless_told(compose):
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_roles_run_without_rights_they_do_not_need(compose):
    for service in settler_services(compose).values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


# The checks ---------------------------------------------------------------------------------


def test_the_workflow_runs_what_ci_runs_on_both_pythons(repository):
    workflow = yaml.safe_load((repository / ".github/workflows/ci.yml").read_text())
    job = workflow["jobs"]["run"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    assert (repository / ".ci/run").stat().st_mode & 0o111


def test_every_make_target_of_ci_exists(repository):
    targets = re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE)
    used = re.findall(r"^make ([a-z-]+)", (repository / ".ci/run").read_text(), re.MULTILINE)
    assert {"test", "check"} <= set(used) <= set(targets)


def test_no_setting_is_read_behind_the_settings(repository):
    pattern = re.compile(rf'["\']{PREFIX}[A-Z_]+["\']')
    allowed = {"connectors/settings.py"}
    for package in PACKAGES[:5]:
        for path in (repository / package).rglob("*.py"):
            place = str(path.relative_to(repository))
            if place not in allowed and "environ" in path.read_text():
                assert not pattern.search(path.read_text()), place


def test_ignored_files_are_not_shipped(repository):
    ignored = [line.rstrip("/") for line in (repository / ".gitignore").read_text().splitlines()]
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=repository, check=True, capture_output=True, text=True
    ).stdout.split()
    for name in tracked:
        for part in name.split("/"):
            assert not any(fnmatch.fnmatch(part, pattern) for pattern in ignored if pattern), name
