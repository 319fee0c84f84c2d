"""Where a transaction stands and why, in one piece."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from domain.casework import is_casework
from domain.explaining.evidence import Scene
from domain.explaining.matches import Told
from domain.explaining.members import show_transaction
from domain.explaining.shown import (
    ExceptionExplanation,
    MatchExplanation,
    StoryLine,
    TransactionExplanation,
)
from domain.explaining.standing import (
    Standing,
    accepted_line,
    duplicate_sentence,
    story_line,
)
from domain.explaining.wording import duration_text, listed
from domain.instants import SECOND_US, instant_text
from domain.money import format_money
from domain.transactions import SIDE_NAMES, Transaction

_ARTICLES = {"exception": "an ", "duplicate": "a "}


class Accepted(NamedTuple):
    """A record as it was accepted, with the position and time of the event that says so."""

    position: int
    at: str
    transaction: Transaction


class Outlook(NamedTuple):
    """What the reconciliation is at.

    Attributes:
        scene: The definition in force; None where it cannot be read.
        event_time_us: None before there is any.
    """

    scene: Scene | None
    event_time_us: int | None
    is_paused: bool


def story_lines(
    standing: Standing, accepted: Sequence[Accepted], story: Sequence[Told]
) -> list[StoryLine]:
    """Tell a transaction's story, oldest first.

    Args:
        standing: With every event of `story` folded.
        accepted: What was accepted under its id.
        story: The events that concern it.
    """
    lines = [story_line(told, standing.place) for told in story if not is_casework(told.event)]
    lines += [
        StoryLine(one.position, one.at, one.event_type, one.sentence) for one in standing.case.work
    ]
    lines += [accepted_line(*each) for each in accepted]
    # Of one position, what was accepted comes first.
    return sorted(
        lines, key=lambda line: (line.position, line.event_type != "TransactionsAccepted")
    )


def wait_end(one: Transaction, outlook: Outlook) -> str | None:
    """Event time at which a pending transaction's wait ends; None without a definition."""
    if outlook.scene is None:
        return None
    return instant_text(outlook.scene.event_time(one) + outlook.scene.definition.window.wait_us)


def explain_transaction(
    standing: Standing,
    accepted: Sequence[Accepted],
    story: Sequence[Told],
    outlook: Outlook,
    match: MatchExplanation | None = None,
    suggestions: Sequence[MatchExplanation] = (),
    exception: ExceptionExplanation | None = None,
) -> TransactionExplanation:
    """Explain a transaction from its folded events.

    Args:
        standing: With every event of `story` folded.
        accepted: What was accepted under its id, oldest first; the last is what stands.
        story: The events that concern it, oldest first.
        match, suggestions, exception: What it stands in, explained.
    """
    one = accepted[-1].transaction
    event_time = outlook.event_time_us
    explanation = TransactionExplanation(
        transaction=show_transaction(one),
        standing=standing.disposition,
        waits_until=wait_end(one, outlook) if standing.disposition == "pending" else None,
        event_time=None if event_time is None else instant_text(event_time),
        duplicate_of=None
        if standing.duplicate is None
        else standing.duplicate.first_transaction_id,
        superseded_by=standing.superseded_by if standing.disposition == "superseded" else None,
        match=match,
        suggestions=list(suggestions),
        exception=exception,
        story=story_lines(standing, accepted, story),
        sentences=[],
    )
    explanation.sentences.extend(_sentences(explanation, standing, one, outlook))
    return explanation


def _sentences(
    shown: TransactionExplanation, standing: Standing, one: Transaction, outlook: Outlook
) -> Iterator[str]:
    money = format_money(one.amount_minor, one.currency)
    yield (
        f"{SIDE_NAMES[one.side]} {one.transaction_id} over {money} of "
        f"{shown.transaction.occurred_at} is {_ARTICLES.get(shown.standing, '')}{shown.standing}."
    )
    match standing.disposition:
        case "pending":
            yield from _waits_for(shown, one, outlook)
        case "duplicate" if standing.duplicate is not None:
            yield duplicate_sentence(standing.duplicate)
        case "superseded":
            yield f"{standing.superseded_by} corrects it, so it counts no more."
    explained = (shown.match, *shown.suggestions, shown.exception)
    for each in explained:
        if each is not None:
            yield from each.sentences


def _waits_for(shown: TransactionExplanation, one: Transaction, outlook: Outlook) -> Iterator[str]:
    if outlook.is_paused:
        yield "The reconciliation is paused: records are accepted, and nothing is decided."
    scene, now = outlook.scene, outlook.event_time_us
    if scene is None:
        yield "The definition in force cannot be read yet."
        return
    window = scene.definition.window
    until = scene.event_time(one) + window.wait_us
    time = "There is no event time yet" if now is None else f"event time is {shown.event_time}"
    if now is not None and until // SECOND_US < now // SECOND_US:
        yield (
            f"Its wait of {duration_text(window.wait_us)} ended at {shown.waits_until}; {time}, "
            "and it is decided with the next look."
        )
    else:
        yield (
            f"It waits for a counterpart until event time passes {shown.waits_until}, its own "
            f"time and {duration_text(window.wait_us)}; {time[0].lower()}{time[1:]}."
        )
    settling = [rule for rule in scene.rules if not rule.immediate]
    at_once = [rule.name for rule in scene.rules if rule.immediate]
    if at_once:
        yield f"Rule {listed(at_once)} matches as soon as its counterpart is there."
    for rule in settling:
        settle = f" and {duration_text(rule.settle_us)}" if rule.settle_us else ""
        final = "suggestion stands" if rule.suggests else "match is final"
        yield f"A {final} by rule {rule.name} once event time passes its newest member{settle}."
