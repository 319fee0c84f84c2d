"""`settler definitions backtest`: what a changed definition would have made of the history."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.cli.console import Json, fail, load_settings, print_json, progress_bar, say
from deploy.cli.database import operator

if TYPE_CHECKING:
    from connectors.settings import Settings
    from domain.definitions import Definition


def backtest(
    file: Annotated[Path, typer.Argument(help="The changed definition, YAML or JSON.")],
    since: Annotated[
        str | None,
        typer.Option("--from", help="Only what occurred from this date or instant on."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="Only what occurred before this date or instant.")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="How many of each kind to show.")] = 5,
    tenant: Annotated[str | None, typer.Option(help="When the file names none.")] = None,
    as_json: Json = False,
) -> None:
    """Run a definition over the recorded history of its reconciliation, and say what changes.

    Matches gained, lost and changed, suggestions and open exceptions, with examples and amounts,
    and every decision of a person that the definition goes against.
    Records come in the order they came in then, and event time passes when it passed then; nothing
    is written. The result is the same whenever it is run over the same history.

    Example: settler definitions backtest changed.yaml --from 2026-01-01 --to 2026-02-01
    """
    from connectors.files.definition_file import read_definition
    from connectors.files.errors import FileUnusable
    from connectors.postgres.history import HistoryUnknown
    from domain.backtesting.backtest import HistoryExpired
    from domain.errors import DefinitionInvalid

    span = _instant("--from", since), _instant("--to", until)
    if span[0] is not None and span[1] is not None and span[0] >= span[1]:
        raise fail(f"--from {since} is not before --to {until}")
    try:
        definition = read_definition(file, tenant)
    except FileUnusable as exc:
        raise fail(str(exc)) from exc
    except DefinitionInvalid as exc:
        raise fail(f"{file}: {exc}") from exc
    try:
        found = _run(load_settings(), definition, span, examples)
    except (HistoryUnknown, HistoryExpired) as exc:
        raise fail(str(exc)) from exc
    found = {"from": since, "to": until} | found
    if as_json:
        print_json(found)
    else:
        for line in lines_of(found):
            print(line)
    name = f"{definition.tenant_id}/{definition.reconciliation_id}"
    say(f"backtest: {found['transactions']:,} transactions of {name}; nothing was changed")


def _run(
    settings: "Settings",
    definition: "Definition",
    span: tuple[int | None, int | None],
    examples: int,
) -> dict[str, Any]:
    from connectors.postgres.history import open_history
    from domain.backtesting.backtest import Backtest
    from domain.backtesting.report import report

    run = Backtest(definition, *span)
    scope = definition.tenant_id, definition.reconciliation_id
    with (
        operator(settings) as connection,
        open_history(connection, *scope) as history,
        progress_bar("events") as on_progress,
    ):
        done = 0
        for batch in history.batches:
            run.read(batch.events, batch.journal)
            done += len(batch.events)
            on_progress(done, history.version)
    run.end()
    return report(run, examples)


def _instant(option: str, text: str | None) -> int | None:
    from domain.instants import InstantInvalid, parse_occurred_at

    if text is None:
        return None
    try:
        instant_us, _ = parse_occurred_at(text)
    except InstantInvalid as exc:
        raise fail(f"{option} {text} {exc}") from exc
    return instant_us


def lines_of(found: Mapping[str, Any]) -> list[str]:
    """Word what a backtest found, for people."""
    accuracy = found["accuracy"]
    lines = [
        (
            f"accuracy {_percent(accuracy['recorded'])} recorded, "
            f"{_percent(accuracy['candidate'])} with this definition"
        )
    ]
    matches = found["matches"]
    lines.append(
        f"matches {matches['recorded']:,} recorded, {matches['candidate']:,} with this definition, "
        f"{matches['unchanged']:,} of them the same"
    )
    for name, when in (("lost", "now"), ("gained", "before")):
        lines += _match_lines(name, when, matches[name])
    lines += _change_lines(matches["changed"])
    lines += _people_lines(found["people"], found["contradictions"])
    for name in ("lost", "gained"):
        kind = found["suggestions"][name]
        lines.append(f"suggestions {name}: {kind['count']:,}{_sums(kind['amounts'])}")
        lines += [f"    {_members(one)}" for one in kind["examples"]]
    changed = found["suggestions"]["changed"]["count"]
    lines.append(f"suggestions of other members or by another rule: {changed:,}")
    lines += _exception_lines(found["exceptions"])
    if found["refused"]:
        lines.append(f"refused, and accepted then: {found['refused']:,}")
    if found["straddling"]:
        lines.append(f"left out, since the range cuts through them: {found['straddling']:,}")
    return lines


def _match_lines(name: str, when: str, kind: Mapping[str, Any]) -> list[str]:
    lines = [f"matches {name}: {kind['count']:,}{_sums(kind['amounts'])}"]
    for one in kind["examples"]:
        states = ", ".join(f"{member} {state}" for member, state in one[when].items())
        lines.append(f"    {_members(one)}; {when}: {states}")
    return lines


def _change_lines(kind: Mapping[str, Any]) -> list[str]:
    lines = [
        (
            f"matches changed: {kind['count']:,}{_sums(kind['amounts'])}, "
            f"{kind['by_rule_only']:,} of them by the rule only"
        )
    ]
    for one in kind["examples"]:
        instead = "; ".join(map(_members, one["candidate"]))
        lines.append(f"    {_members(one['recorded'])} -> {instead}")
    return lines


# How the fates of people's decisions are worded, see `domain.backtesting.contradictions`.
_FATES = {
    "by_rules": "made by a rule now",
    "by_people": "made by people as then",
    "avoided": "no longer come up",
    "repeated": "undone by people as then",
    "asked_again": "asked about anew",
    "contradicted": "contradicted",
}
_DECISIONS = {
    "confirmed": "confirmed",
    "by_hand": "matched by hand",
    "rejected": "rejected",
    "reversed": "reversed",
}


def _people_lines(people: Mapping[str, Any], contradictions: Mapping[str, Any]) -> list[str]:
    lines = []
    for kind, fates in people.items():
        if fates["count"]:
            told = ", ".join(
                f"{fates[fate]:,} {words}" for fate, words in _FATES.items() if fates.get(fate)
            )
            lines.append(f"people {_DECISIONS[kind]} {fates['count']:,}: {told}")
    lines.append(f"decisions of people that are contradicted: {contradictions['count']:,}")
    for one in contradictions["named"]:
        instead = "; ".join(map(_members, one["candidate"]))
        states = ", ".join(f"{member} {state}" for member, state in one["now"].items())
        now = "; ".join(part for part in (instead and f"matches {instead}", states) if part)
        reason = f" ({one['reason']!r})" if one["reason"] else ""
        lines.append(
            f"    {_ids(one['source_ids'])} with {_ids(one['target_ids'])} was "
            f"{_DECISIONS[one['decision']]}{reason}; now: {now}"
        )
    return lines


def _exception_lines(exceptions: Mapping[str, Any]) -> list[str]:
    lines = [
        (
            f"exceptions {exceptions['recorded']:,} recorded, "
            f"{exceptions['candidate']:,} with this definition"
        )
    ]
    for name in ("lost", "gained"):
        kind = exceptions[name]
        lines.append(f"exceptions {name}: {kind['count']:,}")
        lines += [
            f"    {category}: {of['count']:,}{_sums(of['amounts'])}"
            for category, of in kind["by_category"].items()
        ]
        lines += [f"    {_case(one)}" for one in kind["examples"]]
    kind = exceptions["recategorised"]
    lines.append(f"exceptions of another category: {kind['count']:,}")
    lines += [f"    {change}: {count:,}" for change, count in kind["by_category"].items()]
    return lines


def _members(one: Mapping[str, Any]) -> str:
    return (
        f"{_ids(one['source_ids'])} with {_ids(one['target_ids'])} by {one['rule']}, "
        f"{one['source_amount']} and {one['target_amount']} {one['currency']}"
    )


def _ids(ids: Sequence[str]) -> str:
    return "+".join(ids)


def _case(one: Mapping[str, Any]) -> str:
    return (
        f"{one['side']} {one['transaction_id']} {one['category']}, "
        f"{one['amount']} {one['currency']}"
    )


def _sums(amounts: Mapping[str, str]) -> str:
    return "".join(f", {amount} {currency}" for currency, amount in amounts.items())


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
