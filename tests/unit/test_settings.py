"""The environment is checked before anything starts, and `.env.example` tells all of it."""

import os
import re
from pathlib import Path

import pytest

from connectors.settings import PREFIX, Settings, SettingsInvalid, variable

EXAMPLE = Path(__file__).parents[2] / ".env.example"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def problems(monkeypatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsInvalid) as caught:
        Settings.load()
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "broker", "'broker' has 'broker' where host:port belongs"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1,b:99999", "'b:99999' where host:port belongs"),
        ("KAFKA_SECURITY_PROTOCOL", "tls", "'SASL_SSL'"),
        ("KAFKA_SSL_CA_LOCATION", "/no/such.pem", "names a file that does not exist"),
        ("TOPIC_PREFIX", "a b", "'a b' string should match pattern"),
        ("REDIS_URL", "localhost:6379", "redis://host:port/number"),
        ("OTLP_ENDPOINT", "collector", "http://host:port"),
        ("API_PORT", "70000", "'70000' input should be less than or equal to 65535"),
        ("LEASE_SECONDS", "soon", "'soon' input should be a valid number"),
        ("LOG_LEVEL", "loud", "'loud' input should be 'debug'"),
    ],
)
def test_a_wrong_value_is_named_with_its_problem_and_an_example(monkeypatch, name, value, said):
    message = problems(monkeypatch, **{name: value})
    assert said in message
    assert f"for example {PREFIX}{name}=" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://me:hunter2hunter2@db/x"),
        ("DATABASE_URL_API", "mysql://me:hunter2hunter2@db/x"),
        ("REDIS_URL", "http://:hunter2hunter2@cache"),
        ("API_KEY_PEPPER", "hunter2"),
    ],
)
def test_a_secret_is_never_shown(monkeypatch, name, value):
    message = problems(monkeypatch, **{name: value})
    assert f"{PREFIX}{name}:" in message
    assert "hunter2" not in message


def test_secrets_are_left_out_of_the_representation(monkeypatch):
    monkeypatch.setenv("SETTLER_DATABASE_URL", "postgresql://me:hunter2@db/x")
    monkeypatch.setenv("SETTLER_API_KEY_PEPPER", "hunter2hunter2hunter2")
    monkeypatch.setenv("SETTLER_KAFKA_SASL_PASSWORD", "hunter2")
    assert "hunter2" not in repr(Settings.load())


def test_all_problems_are_told_at_once(monkeypatch):
    message = problems(monkeypatch, API_PORT="x", LOG_LEVEL="y", FLUSH_ROWS="0")
    assert len(message.splitlines()) == 4


def test_a_wrong_database_url_is_told_once_not_for_every_role(monkeypatch):
    assert problems(monkeypatch, DATABASE_URL="nowhere").count("is not a URL") == 1


def test_a_misspelt_variable_is_refused_with_the_right_name(monkeypatch):
    message = problems(monkeypatch, KAFKA_BOOTSTRAP_SERVER="a:1")
    assert "did you mean SETTLER_KAFKA_BOOTSTRAP_SERVERS?" in message


def test_variables_an_orchestrator_adds_are_left_alone(monkeypatch):
    monkeypatch.setenv("SETTLER_POSTGRES_SERVICE_HOST", "10.0.0.1")
    assert Settings.load().api_port == 8080


def test_sasl_needs_all_its_parts(monkeypatch):
    message = problems(
        monkeypatch,
        KAFKA_SECURITY_PROTOCOL="sasl_ssl",
        KAFKA_SASL_MECHANISM="plain",
        KAFKA_SASL_USERNAME="me",
    )
    assert "SETTLER_KAFKA_SASL_PASSWORD: is required" in message


def test_roles_take_the_owners_database_unless_told(monkeypatch):
    monkeypatch.setenv("SETTLER_DATABASE_URL", "postgresql://owner@db/x")
    monkeypatch.setenv("SETTLER_DATABASE_URL_API", "postgresql://reader@db/x")
    settings = Settings.load()
    assert settings.database_url_flow == "postgresql://owner@db/x"
    assert settings.database_url_api == "postgresql://reader@db/x"


def test_kafka_config_has_what_was_set_and_nothing_else(monkeypatch):
    monkeypatch.setenv("SETTLER_KAFKA_BOOTSTRAP_SERVERS", "a:1, b:2")
    assert Settings.load().kafka_config() == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "PLAINTEXT",
    }


def test_the_environment_wins_over_the_env_file(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("SETTLER_API_PORT=1111\nSETTLER_LOG_LEVEL=debug\n")
    monkeypatch.setenv("SETTLER_API_PORT", "2222")
    settings = Settings.load()
    assert (settings.api_port, settings.log_level) == (2222, "debug")


def test_processes_of_a_role_serve_metrics_on_ports_of_their_own(monkeypatch):
    assert Settings.load().metrics_port_for("flow", 1) == 9471
    monkeypatch.setenv("SETTLER_METRICS_PORT", "0")
    assert Settings.load().metrics_port_for("flow", 1) == 0


def test_the_example_file_lists_every_setting_with_its_default(monkeypatch):
    listed = dict(re.findall(r"^#? ?(SETTLER_[A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    assert set(listed) == {variable(field) for field in Settings.model_fields}
    for name, value in listed.items():
        if value and not name.endswith("_LOCATION"):
            monkeypatch.setenv(name, value)
    assert Settings.load().topic_prefix == "settler"


def test_what_the_example_file_leaves_on_is_the_default():
    active = dict(re.findall(r"^(SETTLER_[A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    for name, value in active.items():
        field = Settings.model_fields[name.removeprefix(PREFIX).lower()]
        assert str(field.default) == value, name
