"""Settings from the environment, checked before anything starts.

Every field is one variable: `SETTLER_` and the field's name in capitals. A `.env` file in the
working directory is read too; the environment wins over it. `.env.example` lists them all.
"""

import difflib
import os
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.errors import SettlerError

PREFIX = "SETTLER_"
METRICS_PORTS = {"projections": 9464, "publish": 9465, "flow": 9470}
"""Where each role serves its metrics unless told; flow process i takes 9470 + i."""


class SettingsInvalid(SettlerError):
    """One or more variables cannot be used; `problems` has a sentence for each."""

    code = "settings.invalid"

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(["The settings cannot be used:", *problems]))


def _database_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname:
        raise ValueError("is not a URL of the form postgresql://user:password@host:port/database")
    return value


def _redis_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError("is not a URL of the form redis://host:port/number")
    return value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not a URL of the form http://host:port")
    return value.rstrip("/")


def _mail_url(value: str) -> str:
    parts = urlsplit(value)
    if value != "log:" and (parts.scheme not in ("smtp", "smtps") or not parts.hostname):
        raise ValueError("is neither log: nor a URL of the form smtp://user:password@host:587")
    return value


def _origins(value: str) -> str:
    origins = [origin.strip() for origin in value.split(",") if origin.strip()]
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
            raise ValueError(f"has {origin!r} where an origin such as https://host:port belongs")
    return ",".join(origins)


def _bootstrap_servers(value: str) -> str:
    servers = [server.strip() for server in value.split(",")]
    for server in servers:
        host, _, port = server.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"has {server!r} where host:port belongs")
    return ",".join(servers)


def _readable_file(value: str) -> str:
    if not Path(value).is_file():
        raise ValueError("names a file that does not exist")
    return value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
MailUrl = Annotated[str, AfterValidator(_mail_url)]
ReadableFile = Annotated[str, AfterValidator(_readable_file)]
Port = Annotated[int, Field(ge=0, le=65535)]

DATABASE_EXAMPLE = "postgresql://settler:secret@localhost:5432/settler"


class Settings(BaseSettings):
    """Everything a process of Settler can be told. Secrets are left out of its repr."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="ignore", env_ignore_empty=True, frozen=True
    )

    kafka_bootstrap_servers: Annotated[str, AfterValidator(_bootstrap_servers)] = Field(
        default="localhost:9092", examples=["kafka-1:9092,kafka-2:9092"]
    )
    kafka_security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], BeforeValidator(_upper)
    ] = Field(default="PLAINTEXT", examples=["SASL_SSL"])
    kafka_sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, BeforeValidator(_upper)
    ] = Field(default=None, examples=["SCRAM-SHA-512"])
    kafka_sasl_username: str | None = Field(default=None, examples=["settler"])
    kafka_sasl_password: str | None = Field(default=None, repr=False, examples=["secret"])
    kafka_ssl_ca_location: ReadableFile | None = Field(
        default=None, examples=["/etc/ssl/certs/ca-certificates.crt"]
    )
    kafka_ssl_certificate_location: ReadableFile | None = Field(
        default=None, examples=["/etc/settler/client.pem"]
    )
    kafka_ssl_key_location: ReadableFile | None = Field(
        default=None, examples=["/etc/settler/client.key"]
    )
    kafka_ssl_key_password: str | None = Field(default=None, repr=False, examples=["secret"])
    kafka_group: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9._-]{1,249}$", examples=["settler.flow"]
    )
    topic_prefix: str = Field(
        default="settler", pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["settler"]
    )
    topic_partitions: int = Field(default=4, ge=1, le=1024, examples=[4])
    topic_replication_factor: int = Field(default=1, ge=1, le=16, examples=[3])

    database_url: DatabaseUrl = Field(
        default="postgresql://localhost:5432/settler", repr=False, examples=[DATABASE_EXAMPLE]
    )
    database_url_flow: DatabaseUrl = Field(default="", repr=False, examples=[DATABASE_EXAMPLE])
    database_url_projections: DatabaseUrl = Field(
        default="", repr=False, examples=[DATABASE_EXAMPLE]
    )
    database_url_api: DatabaseUrl = Field(default="", repr=False, examples=[DATABASE_EXAMPLE])
    database_pool_size: int = Field(default=8, ge=1, le=200, examples=[8])
    redis_url: RedisUrl | None = Field(
        default=None, repr=False, examples=["redis://localhost:6379/0"]
    )

    api_host: str = Field(default="127.0.0.1", min_length=1, examples=["0.0.0.0"])  # noqa: S104
    api_port: Port = Field(default=8080, examples=[8080])
    api_key_pepper: str = Field(
        default="", repr=False, pattern=r"^(.{16,})?$", examples=["32 random characters"]
    )
    api_trusted_proxies: str = Field(default="127.0.0.1", examples=["10.0.0.0/8,127.0.0.1"])
    cors_origins: Annotated[str, AfterValidator(_origins)] = Field(
        default="", examples=["https://dashboard.example.com"]
    )
    rate_limit_credential: int = Field(default=300_000, ge=1, le=10**9, examples=[6000])
    rate_limit_address: int = Field(default=300_000, ge=1, le=10**9, examples=[12_000])
    rate_limit_guesses: int = Field(default=30, ge=1, le=10**9, examples=[30])
    tenant_streams: int = Field(default=1000, ge=1, le=100_000, examples=[1000])
    slow_query_milliseconds: int = Field(default=500, ge=1, le=60_000, examples=[500])
    access_token_seconds: int = Field(default=600, ge=60, le=3600, examples=[600])
    refresh_token_days: int = Field(default=7, ge=1, le=90, examples=[7])
    session_days: int = Field(default=30, ge=1, le=365, examples=[30])
    mail_url: MailUrl | None = Field(
        default=None, repr=False, examples=["smtp://settler:secret@mail.example.com:587"]
    )
    mail_from: str = Field(
        default="Settler <settler@localhost>",
        pattern=r"^[^\r\n]{3,256}$",
        examples=["Settler <settler@example.com>"],
    )

    flush_rows: int = Field(default=50_000, ge=1, le=1_000_000, examples=[50_000])
    flush_milliseconds: int = Field(default=50, ge=1, le=10_000, examples=[50])
    hot_transactions: int = Field(default=1_000_000, ge=1_000, le=10**9, examples=[1_000_000])
    hold_seconds: float = Field(default=5.0, ge=0, le=3600, examples=[5])
    journal_days: int | None = Field(default=None, ge=1, le=36_500, examples=[90])
    followers_niceness: int = Field(default=15, ge=0, le=19, examples=[15])
    lease_name: str = Field(default="flow", min_length=1, max_length=64, examples=["flow"])
    lease_holder: str | None = Field(default=None, max_length=200, examples=["host-1"])
    lease_seconds: float = Field(default=5.0, ge=0.1, le=600, examples=[5])

    otlp_endpoint: HttpUrl | None = Field(default=None, examples=["http://localhost:4318"])
    metrics_host: str = Field(default="127.0.0.1", min_length=1, examples=["0.0.0.0"])  # noqa: S104
    metrics_port: Port | None = Field(default=None, examples=[9464])
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = (
        Field(default="info", examples=["info"])
    )
    log_format: Annotated[Literal["json", "console"], BeforeValidator(_lower)] = Field(
        default="json", examples=["console"]
    )

    @model_validator(mode="before")
    @classmethod
    def _roles_default_to_the_owner(cls, values: dict[str, object]) -> dict[str, object]:
        default = cls.model_fields["database_url"].default
        for role in ("flow", "projections", "api"):
            values.setdefault(f"database_url_{role}", values.get("database_url", default))
        return values

    @model_validator(mode="after")
    def _sasl_is_complete(self) -> Self:
        names = ("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password")
        if self.kafka_security_protocol.startswith("SASL"):
            for name in names:
                if getattr(self, name) is None:
                    raise ValueError(
                        f"{variable(name)}: is required when {variable('kafka_security_protocol')} "
                        f"is {self.kafka_security_protocol}"
                    )
        return self

    @classmethod
    def load(cls) -> Self:
        """Read the environment and `.env`, and check every value.

        Raises:
            SettingsInvalid: A value is wrong, or a variable looks like a misspelt setting. The
                message names each variable, says what is wrong and shows an example; the value
                of a secret is never in it.
        """
        problems = _misspelt(cls)
        try:
            settings = cls()
        except ValidationError as exc:
            # A role's URL defaults to the owner's: what is wrong with that is said once.
            errors = {(e["msg"], repr(e["input"])): e for e in reversed(exc.errors())}
            problems += [_sentence(cls, error) for error in reversed(errors.values())]
        if problems:
            raise SettingsInvalid(problems)
        return settings

    def topic(self, name: str) -> str:
        """Return the full name of a topic, such as `settler.events` for `events`."""
        return f"{self.topic_prefix}.{name}"

    def consumer_group(self) -> str:
        """Return the group that shows the flow's offsets, `settler.flow` unless told otherwise."""
        return self.kafka_group or f"{self.topic_prefix}.{self.lease_name}"

    def kafka_config(self) -> dict[str, str]:
        """Return what every Kafka client of ours starts from, in librdkafka's names."""
        config = {
            "bootstrap.servers": self.kafka_bootstrap_servers,
            "security.protocol": self.kafka_security_protocol,
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_sasl_username,
            "sasl.password": self.kafka_sasl_password,
            "ssl.ca.location": self.kafka_ssl_ca_location,
            "ssl.certificate.location": self.kafka_ssl_certificate_location,
            "ssl.key.location": self.kafka_ssl_key_location,
            "ssl.key.password": self.kafka_ssl_key_password,
        }
        return {name: value for name, value in config.items() if value is not None}

    def metrics_port_for(self, role: str, index: int = 0) -> int:
        """Return the port a process serves metrics on; 0 means any free one.

        Args:
            role: `flow`, `projections` or `publish`; the API serves its own at `/metrics`.
            index: Number of the process within its role; each takes the next port.
        """
        base = METRICS_PORTS[role] if self.metrics_port is None else self.metrics_port
        return base + index if base else 0


def variable(field: str) -> str:
    """Return the name of the environment variable of a field."""
    return PREFIX + field.upper()


def _sentence(model: type[Settings], error: object) -> str:
    assert isinstance(error, dict)
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return f"  {message}"
    field = model.model_fields[error["loc"][0]]
    example = field.examples[0] if field.examples else ""
    shown = "" if field.repr is False else f" {str(error['input'])[:80]!r}"
    name = variable(error["loc"][0])
    return f"  {name}:{shown} {_lower_first(message)}; for example {name}={example}"


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:]


def _misspelt(model: type[Settings]) -> list[str]:
    known = {variable(field) for field in model.model_fields}
    problems = []
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            # Orchestrators add variables of their own; only a near miss is surely a mistake.
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.93)
            if near:
                problems.append(f"  {name}: is no setting; did you mean {near[0]}?")
    return problems
