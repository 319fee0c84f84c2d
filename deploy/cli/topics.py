"""`settler topics`: the Kafka topics Settler reads and writes."""

from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.console import Json, fail, load_settings, print_rows, say

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from connectors.settings import Settings

topics = typer.Typer(no_args_is_help=True, help="The Kafka topics Settler reads and writes.")

NAMES = ("transactions.source", "transactions.target", "events", "dead-letter")
TIMEOUT_SECONDS = 15


@topics.command("create")
def create(
    partitions: Annotated[
        int | None, typer.Option(min=1, help="Default SETTLER_TOPIC_PARTITIONS.")
    ] = None,
) -> None:
    """Create the topics that do not exist yet; existing ones are left as they are.

    Example: settler topics create --partitions 12
    """
    settings = load_settings()
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import NewTopic

    admin = _admin(settings)
    found = _partition_counts(admin)
    count = partitions or settings.topic_partitions
    wanted = [settings.topic(name) for name in NAMES]
    missing = [name for name in wanted if name not in found]
    new = [NewTopic(name, count, settings.topic_replication_factor) for name in missing]
    for name, future in (admin.create_topics(new) if new else {}).items():
        try:
            future.result(timeout=TIMEOUT_SECONDS)
        except KafkaException as exc:
            raise fail(f"Kafka refused to create {name}: {exc.args[0].str()}", code=1) from exc
        say(f"topics: created {name} with {count} partitions")
    for name in wanted:
        if name in found:
            say(f"topics: {name} is there with {found[name]} partitions")


@topics.command("list")
def list_topics(as_json: Json = False) -> None:
    """Show the topics and how many partitions each has.

    Example: settler topics list --json
    """
    settings = load_settings()
    found = _partition_counts(_admin(settings))
    rows = [
        {"topic": name, "partitions": found.get(name, 0)} for name in map(settings.topic, NAMES)
    ]
    print_rows(rows, ("topic", "partitions"), as_json)


def _admin(settings: "Settings") -> "AdminClient":
    from confluent_kafka.admin import AdminClient

    return AdminClient({**settings.kafka_config(), "log_level": 0})


def _partition_counts(admin: "AdminClient") -> dict[str, int]:
    from confluent_kafka import KafkaException

    try:
        topics_found = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
    except KafkaException as exc:
        reason = (
            f"Kafka does not answer: {exc.args[0].str()}; check SETTLER_KAFKA_BOOTSTRAP_SERVERS"
        )
        raise fail(reason, code=1) from exc
    return {name: len(topic.partitions) for name, topic in topics_found.items()}
