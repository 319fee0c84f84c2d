"""`settler verify`: is everything there, once, and does it add up."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.console import (
    DOES_NOT_HOLD,
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
    from domain.verification.totals import Totals

PLACES = ("matched", "suggested", "exception", "duplicate", "superseded", "pending")
COLUMNS = (
    "reconciliation", "side", "currency", "consumed", "accepted", "rejected", *PLACES,
)  # fmt: skip


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
    and no position may be missing, and every committed message must be accepted, redelivered or a
    dead letter. A flow may be running meanwhile. Exit 1 with the first difference.

    Example: settler verify --tenant acme
    """
    settings = load_settings()
    from psycopg import OperationalError

    from connectors.telemetry import redact_text
    from deploy.verification.run import verify as run
    from domain.errors import SettlerError

    # What keeps verification from its work is no difference: exit 1 says that something is wrong.
    try:
        with operator(settings) as connection, progress_bar("events and messages") as on_progress:
            verified = run(
                connection,
                settings,
                tenant,
                reconciliation,
                with_kafka=not no_kafka,
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
        _say_words(verified)
    if verified.difference is not None:
        raise typer.Exit(DOES_NOT_HOLD)


def report(verified: "Verified") -> dict[str, Any]:
    """Return what was found as plain values for JSON."""
    difference = verified.difference
    return {
        "holds": verified.holds,
        "difference": difference
        and {
            "kind": difference.kind,
            **difference.where._asdict(),
            "problem": difference.problem,
            "hint": difference.hint,
        },
        "log": {"position": verified.head, "batches": verified.batches},
        "read_models": {
            "state": verified.read_models,
            "events_behind": verified.read_models_behind,
        },
        "kafka": {
            "state": verified.kafka.state,
            "notes": verified.kafka.notes,
            "messages": verified.kafka.messages,
            **verified.kafka.outcomes,
            "offsets": verified.kafka.partitions,
        },
        "streams": [
            {"stream_id": name, **totals.plain()} for name, totals in verified.streams.items()
        ],
    }


def _rows(name: str, totals: "Totals") -> list[dict[str, Any]]:
    """Three kinds of rows: the whole stream, each side and currency, and that one's amounts."""
    from domain.money import format_money
    from domain.transactions import SIDE_NAMES

    whole: dict[str, Any] = {
        "reconciliation": name,
        "consumed": totals.consumed,
        "accepted": totals.accepted(),
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


def _say_words(verified: "Verified") -> None:
    kafka = verified.kafka
    for note in kafka.notes:
        say(f"verify: {note}")
    if verified.read_models != "agree":
        say(f"verify: read models {verified.read_models}")
    elif verified.read_models_behind:
        say(
            f"verify: read models are {verified.read_models_behind:,} events behind and were "
            "compared as of where they stand"
        )
    if verified.difference is not None:
        say(f"verify: DOES NOT HOLD: {verified.difference}")
        return
    say(
        f"verify: holds: {verified.head:,} events in {verified.batches:,} batches, "
        f"{kafka.messages:,} messages of Kafka accounted for"
    )
