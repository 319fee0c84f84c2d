"""`settler explain`: where a transaction stands, and why."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deploy.cli.console import Json, fail, load_settings, print_json, progress_bar
from deploy.cli.database import load_queries, operator

if TYPE_CHECKING:
    from domain.explaining.shown import TransactionExplanation


def explain(
    transaction: Annotated[str, typer.Argument(help="The transaction's id.")],
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    reconciliation: Annotated[str | None, typer.Option(help="Only of this reconciliation.")] = None,
    side: Annotated[
        Literal["source", "target"] | None, typer.Option(help="Only on this side.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say where a transaction stands and why: what matched it, or what kept it from matching.

    A match is shown with every condition and both sides' values, the difference and its limit, the
    days between and their window; an exception with its nearest candidates and what each failed
    first; what is pending with what it waits for. All of it is worked out from the log and from the
    definition that was in force. Name tenant, reconciliation and side where the id alone is not
    enough; the log is read back to where the transaction was accepted.

    Example: settler explain o-1 --tenant acme --reconciliation shop-stripe --side source
    """
    settings = load_settings()
    from domain.transactions import SIDE_NAMES
    from projections.explaining import Reach, Stream, follow, transaction_explanation

    found: dict[str, TransactionExplanation] = {}
    asked = {"tenant_id": tenant, "reconciliation_id": reconciliation}
    with operator(settings) as connection, progress_bar("streams") as on_progress:
        streams = connection.execute(load_queries("explain")["list_streams"], asked).fetchall()
        places = [(*stream, one) for stream in streams for one in SIDE_NAMES if side in (None, one)]
        for done, (tenant_id, reconciliation_id, name) in enumerate(places):
            on_progress(done, len(places))
            stream = Stream(tenant_id, reconciliation_id, Reach(None))
            steps = transaction_explanation(stream, SIDE_NAMES.index(name), transaction)
            explanation = follow(connection, steps)
            if explanation is not None:
                found[f"{tenant_id}/{reconciliation_id} {name}"] = explanation
    if not found:
        raise fail(f"there is no transaction {transaction} in {_scope(tenant, reconciliation)}")
    if len(found) > 1:
        raise fail(
            f"{transaction} is the id of {len(found)} transactions: {', '.join(found)}; say which "
            "by --tenant, --reconciliation and --side"
        )
    (explanation,) = found.values()
    if as_json:
        from msgspec import to_builtins

        print_json(to_builtins(explanation))
    else:
        print("\n".join(lines_of(explanation)))


def lines_of(explanation: "TransactionExplanation") -> list[str]:
    """Write an explanation for people: what is, then how it came about."""
    width = max(len(line.at) for line in explanation.story)
    story = [f"  {line.at:<{width}}  {line.sentence}" for line in explanation.story]
    return [*explanation.sentences, "", "Story", *story]


def _scope(tenant: str | None, reconciliation: str | None) -> str:
    if tenant is None and reconciliation is None:
        return "any reconciliation"
    return f"{tenant or '*'}/{reconciliation or '*'}"
