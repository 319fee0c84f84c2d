"""Deciding what people ask: confirm, reject and reverse matches, and match by hand.

A person's match comes before every rule: its members are gone for all of them, as if the rules had
run over what people left. Suggestions and exceptions that spoke of a member end with it.
"""

from collections import Counter
from typing import NamedTuple

from domain.commands import (
    MANUAL,
    CannotBeDone,
    ConfirmMatch,
    MatchByHand,
    MatchCommand,
    RejectMatch,
    ReverseMatch,
)
from domain.events import MatchConfirmed, MatchRejected
from domain.identity import match_id
from domain.matching.book import Book
from domain.matching.compiled import CompiledRule
from domain.matching.legs import PERSON, Leg, Settled, Suggestion
from domain.matching.refusals import Refusal
from domain.matching.selection import Match, admits_group, ids_of, stated, total_of
from domain.matching.settling import Settling
from domain.matching.undoing import reverse
from domain.money import currency_digits, format_minor
from domain.transactions import SIDE_NAMES

# How many ids a refusal names before it only counts.
_NAMED_MAX = 5


class _Match(NamedTuple):
    rule: CompiledRule | None
    match_type: str
    sources: tuple[Leg, ...]
    targets: tuple[Leg, ...]


def decide(settling: Settling, command: MatchCommand, command_id: str) -> None:
    """Decide a command; what follows for other legs is left to the next look.

    Raises:
        CannotBeDone: Nothing was changed.
    """
    match command:
        case ConfirmMatch():
            _confirm(settling, command, command_id)
        case RejectMatch():
            _reject(settling, command, command_id)
        case ReverseMatch():
            _reverse_by_command(settling, command, command_id)
        case MatchByHand():
            _match_by_hand(settling, command, command_id)


def _standing(book: Book, suggestion_id: str) -> Suggestion:
    suggestion = book.suggestions.get(suggestion_id)
    if suggestion is None:
        raise CannotBeDone(
            "suggestion_not_standing",
            f"Suggestion {suggestion_id} does not stand: it was confirmed, rejected or superseded, "
            "or never made. List the suggestions again.",
        )
    return suggestion


def _confirm(settling: Settling, command: ConfirmMatch, command_id: str) -> None:
    suggestion = _standing(settling.book, command.match_id)
    rule = settling.book.rules[suggestion.rule_index]
    match = _Match(rule, rule.rule.match_type, suggestion.sources, suggestion.targets)
    if command.source_ids or command.target_ids:
        match = match._replace(
            sources=_chosen(suggestion.sources, command.source_ids, 0),
            targets=_chosen(suggestion.targets, command.target_ids, 1),
        )
    elif not suggestion.single:
        raise CannotBeDone(
            "members_needed",
            f"Suggestion {command.match_id} holds several possible matches; say by source_ids and "
            "target_ids which of its members are the one.",
        )
    whole = (match.sources, match.targets) == (suggestion.sources, suggestion.targets)
    if not (whole and suggestion.single) and not _is_candidate(rule, match):
        raise CannotBeDone(
            "not_a_candidate",
            f"These members are not a match by rule {rule.name}. Choose others, or match them by "
            "hand.",
        )
    _close(settling, match, command.match_id, command.reason, command_id)


def _chosen(members: tuple[Leg, ...], ids: list[str], side: int) -> tuple[Leg, ...]:
    wanted = set(ids)
    chosen = tuple(leg for leg in members if leg.transaction_id in wanted)
    missing = wanted.difference(ids_of(chosen))
    if missing:
        raise CannotBeDone(
            "not_in_suggestion",
            f"{_named(missing, side)} not in the suggestion, or no longer.",
        )
    if not chosen:
        raise CannotBeDone(
            "members_needed", f"No {SIDE_NAMES[side]} is named; a match has members on both sides."
        )
    return chosen


def _is_candidate(rule: CompiledRule, match: _Match) -> bool:
    kind = rule.rule.match_type
    if kind in ("one_to_one", "one_to_many") and len(match.sources) > 1:
        return False
    if kind in ("one_to_one", "many_to_one") and len(match.targets) > 1:
        return False
    return admits_group(rule, Match(match.sources, match.targets))


def _reject(settling: Settling, command: RejectMatch, command_id: str) -> None:
    book = settling.book
    suggestion = _standing(book, command.match_id)
    source_ids, target_ids = ids_of(suggestion.sources), ids_of(suggestion.targets)
    settling.events.append(
        MatchRejected(
            command.match_id,
            suggestion.rule,
            source_ids,
            target_ids,
            command.reason,
            command_id,
        )
    )
    book.withdraw(command.match_id)
    book.refuse(Refusal(suggestion.rule, tuple(source_ids), tuple(target_ids)))


def _reverse_by_command(settling: Settling, command: ReverseMatch, command_id: str) -> None:
    reverse(settling, _find_settled(settling.book, command), command.reason, command_id)


def _find_settled(book: Book, command: ReverseMatch) -> Settled:
    """The match that a command names, found by its members."""
    found: dict[int, Settled] = {}
    for side, ids in enumerate((command.source_ids, command.target_ids)):
        for known in map(book.known[side].get, ids):
            if isinstance(known, Settled):
                found[id(known)] = known
    for settled in found.values():
        if _match_id_of(book, settled) == command.match_id:
            return settled
    raise CannotBeDone(
        "match_not_standing",
        f"Match {command.match_id} does not stand: it was reversed, never made, or its "
        "transactions are remembered no longer.",
    )


def _match_id_of(book: Book, settled: Settled) -> str:
    one = book.definition
    ids = [
        [book.unpack(packed).transaction_id for packed in settled.packed(side)] for side in (0, 1)
    ]
    return match_id(
        one.tenant_id, one.reconciliation_id, settled.rule, ids[0], ids[1], settled.newest_ms
    )


def _match_by_hand(settling: Settling, command: MatchByHand, command_id: str) -> None:
    sources = _open_legs(settling.book, command.source_ids, 0)
    targets = _open_legs(settling.book, command.target_ids, 1)
    currencies = sorted({leg.currency for leg in (*sources, *targets)})
    if len(currencies) > 1:
        raise CannotBeDone(
            "currency_mismatch",
            f"The transactions are in {' and '.join(currencies)}; a match has one currency.",
        )
    difference = total_of(targets) - total_of(sources)
    if difference and not (command.reason or "").strip():
        digits = currency_digits(currencies[0])
        assert digits is not None, currencies
        raise CannotBeDone(
            "reason_needed",
            f"The sums differ by {format_minor(difference, digits)} {currencies[0]} (target less "
            "source); give a reason to match them all the same.",
        )
    kind = f"{'one' if len(sources) == 1 else 'many'}_to_{'one' if len(targets) == 1 else 'many'}"
    match = _Match(None, kind, sources, targets)
    _close(settling, match, None, command.reason, command_id)


def _open_legs(book: Book, ids: list[str], side: int) -> tuple[Leg, ...]:
    twice = [one for one, count in Counter(ids).items() if count > 1]
    if twice:
        raise CannotBeDone("invalid_command", f"{_named(set(twice), side)} named twice.")
    unknown, closed, legs = set(), set(), []
    for one in ids:
        known = book.known[side].get(one)
        if known is None:
            unknown.add(one)
        elif isinstance(known, Leg):
            legs.append(known)
        else:
            closed.add(one)
    if unknown:
        raise CannotBeDone(
            "unknown_transaction",
            f"{_named(unknown, side)} not known here, or remembered no longer.",
        )
    if closed:
        raise CannotBeDone(
            "transaction_not_open",
            f"{_named(closed, side)} not open: matched, a duplicate or superseded. Reverse the "
            "match first.",
        )
    return tuple(sorted(legs, key=lambda leg: leg.transaction_id))


def _named(ids: set[str], side: int) -> str:
    """Name transactions of one side as the subject of a sentence, verb included."""
    some = sorted(ids)[:_NAMED_MAX]
    more = f" and {len(ids) - len(some)} more" if len(ids) > len(some) else ""
    return f"{SIDE_NAMES[side]} {', '.join(some)}{more} {'is' if len(ids) == 1 else 'are'}"


def _close(
    settling: Settling,
    match: _Match,
    suggestion_id: str | None,
    reason: str | None,
    command_id: str,
) -> None:
    sources, targets = match.sources, match.targets
    newest_ms = max(leg.occurred_at for leg in (*sources, *targets)) // 1000
    if match.rule is None:
        name, compared = MANUAL, None
        currency = sources[0].currency
        source_minor, target_minor = total_of(sources), total_of(targets)
    else:
        name = match.rule.name
        currency, source_minor, target_minor, compared = stated(match.rule, sources, targets)
    settling.events.append(
        MatchConfirmed(
            name,
            match.match_type,
            settling.definition_version,
            ids_of(sources),
            ids_of(targets),
            currency,
            source_minor,
            target_minor,
            newest_ms,
            suggestion_id,
            reason,
            command_id,
            compared,
        )
    )
    members = Match(sources, targets)
    settling.close(members, name, PERSON, newest_ms, compared, "manual_match")
