"""`settler verify`: is everything there, once, and does it add up."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.console import (
    DOES_NOT_HOLD,
    UNUSABLE,
    Json,
    fail,
    load_settings,
    print_json,
    print_rows,
    progress_bar,
    say,
)
from deploy.cli.database import operator

if TYPE_CHECKING:
    from deploy.verification.run import Verified
    from domain.verification.difference import Difference
    from domain.verification.totals import Totals

PLACES = ("matched", "suggested", "exception", "duplicate", "superseded", "pending")
COLUMNS = (
    *("reconciliation", "side", "currency"),
    *("consumed", "accepted", "redelivered", "rejected"),
    *PLACES,
)


def verify(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    reconciliation: Annotated[str | None, typer.Option(help="Only this reconciliation.")] = None,
    no_kafka: Annotated[
        bool, typer.Option("--no-kafka", help="Log, dead letters and read models only.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Recompute all totals from the log and from what Kafka still has, and compare.

    Every accepted transaction must stand in exactly one place, each sum must tie out, no version
    and no position may be missing, the read models must show what the log says, and every committed
    message must be accepted, redelivered or a dead letter. A flow may be running meanwhile.

    Exit 0: all of it holds. 1: it does not; each line says what, where, and what to do. 2: it could
    not be checked.

    Example: settler verify --tenant acme
    """
    settings = load_settings()
    from psycopg import OperationalError

    from connectors.telemetry import redact_text
    from deploy.verification.run import verify as run
    from domain.errors import SettlerError
    from domain.transactions import SIDE_NAMES

    # What keeps verification from its work is no difference: exit 1 says that something is wrong.
    try:
        with operator(settings) as connection, progress_bar("events and messages") as on_progress:
            verified = run(
                connection,
                [settings.topic(f"transactions.{side}") for side in SIDE_NAMES],
                None if no_kafka else settings.kafka_config(),
                tenant,
                reconciliation,
                on_progress=on_progress,
            )
    except SettlerError as exc:
        raise fail(str(exc)) from exc
    except OperationalError as exc:
        raise fail(f"the database cannot be used: {redact_text(str(exc)).strip()}") from exc
    if as_json:
        print_json(report(verified))
    else:
        rows = [row for name, totals in verified.streams.items() for row in _rows(name, totals)]
        print_rows(rows, COLUMNS, as_json=False)
        say_words(verified)
    if not verified.holds:
        raise typer.Exit(DOES_NOT_HOLD)
    if verified.kafka.problem is not None:
        raise typer.Exit(UNUSABLE)


def report(verified: "Verified") -> dict[str, Any]:
    """Return what was found as plain values for JSON."""
    kafka = verified.kafka
    return {
        "holds": verified.holds,
        "differences": [_plain(one) for one in verified.differences],
        "log": {"position": verified.head, "batches": verified.batches},
        "read_models": {"events_behind": verified.read_models_behind},
        "expired": {
            name: {"version": one.version, "transactions": one.transactions}
            for name, one in verified.expired.items()
        },
        "kafka": {
            "state": kafka.state,
            "problem": kafka.problem,
            "notes": kafka.notes,
            "messages": kafka.messages,
            **kafka.outcomes,
            "offsets": kafka.partitions,
        },
        "streams": [
            {"stream_id": name, **totals.plain()} for name, totals in verified.streams.items()
        ],
    }


def _plain(difference: "Difference") -> dict[str, Any]:
    return {
        "kind": difference.kind,
        **difference.where._asdict(),
        "problem": difference.problem,
        "hint": difference.hint,
    }


def _rows(name: str, totals: "Totals") -> list[dict[str, Any]]:
    """Three kinds of rows: the whole stream, each side and currency, and that one's amounts."""
    from domain.money import format_money
    from domain.transactions import SIDE_NAMES

    whole: dict[str, Any] = {
        "reconciliation": name,
        "consumed": totals.consumed,
        "accepted": totals.accepted(),
        "redelivered": totals.redelivered,
        "rejected": totals.rejected,
    }
    rows = [whole | {place: totals.standing(place) for place in PLACES}]
    for (side, currency), places in sorted(totals.places.items()):
        named: dict[str, Any] = {
            "reconciliation": name,
            "side": SIDE_NAMES[side],
            "currency": currency,
        }
        accepted = sum(one.count for one in places.values())
        rows.append(named | {"accepted": accepted} | {p: places[p].count for p in PLACES})
        amount = sum(one.sum_minor for one in places.values())
        rows.append(
            named
            | {"accepted": format_money(amount, currency)}
            | {place: format_money(places[place].sum_minor, currency) for place in PLACES}
        )
    return rows


def say_words(verified: "Verified") -> None:
    """Say what was found, a line for each difference, and what could not be asked."""
    kafka = verified.kafka
    for note in kafka.notes:
        say(f"verify: {note}")
    for name, events in verified.read_models_behind.items():
        if events:
            say(f"verify: {name} is {events:,} events behind and was compared as of before them")
    for name, expired in verified.expired.items():
        say(
            f"verify: {name}: journals up to version {expired.version:,} have expired; the "
            f"{expired.transactions:,} transactions they held could not be counted again one by "
            "one, their sums were held against the snapshot that stands in for them"
        )
    for difference in verified.differences:
        say(f"verify: DOES NOT HOLD: {difference}")
    if kafka.problem is not None:
        say(
            f"verify: Kafka could not be read: {kafka.problem}. Run it again when Kafka answers, "
            "or with --no-kafka for everything else."
        )
    if verified.holds:
        what = "" if kafka.problem is None else "what could be checked "
        say(
            f"verify: {what}holds: {verified.head:,} events in {verified.batches:,} batches, "
            f"{kafka.messages:,} messages of Kafka accounted for"
        )
