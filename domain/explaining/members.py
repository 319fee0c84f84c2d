"""Transactions as explanations name them, and which of them could be found again."""

from collections.abc import Iterable, Mapping

from domain.explaining.evidence import Scene
from domain.explaining.shown import MemberShown, TransactionShown
from domain.explaining.wording import listed
from domain.instants import instant_text
from domain.matching.compiled import CompiledRule
from domain.money import amount_text
from domain.transactions import SIDE_NAMES, Transaction, supersedes

#: Side and transaction id.
Place = tuple[int, str]
#: What was accepted under each place, as of the decision that is explained.
Contents = Mapping[Place, Transaction]


def places_of(source_ids: Iterable[str], target_ids: Iterable[str]) -> list[Place]:
    """The places of a match's members."""
    return [*((0, one) for one in source_ids), *((1, one) for one in target_ids)]


def occurred_text(transaction: Transaction) -> str:
    """The event time as the record gave it: an instant, or a bare date."""
    text = instant_text(transaction.occurred_at)
    return text[:10] if transaction.is_date else text


def show_member(
    place: Place, contents: Contents, scene: Scene | None, rule: CompiledRule | None
) -> MemberShown:
    """A member with what the rule compares of it, as far as it was found."""
    side, transaction_id = place
    one = contents.get(place)
    if one is None:
        return MemberShown(SIDE_NAMES[side], transaction_id, None, None, None, None, None)
    compared = None
    if scene is not None and rule is not None:
        compared = rule.comparison.value(one)
    return MemberShown(
        SIDE_NAMES[side],
        transaction_id,
        amount_text(one.amount_minor, one.currency),
        one.currency,
        occurred_text(one),
        None if rule is None or compared is None else f"{rule.comparison.decimal(compared):f}",
        compared and compared[0],
    )


def show_transaction(one: Transaction) -> TransactionShown:
    """A whole transaction."""
    return TransactionShown(
        SIDE_NAMES[one.side],
        one.transaction_id,
        amount_text(one.amount_minor, one.currency),
        one.currency,
        occurred_text(one),
        one.reference,
        one.counterparty,
        one.description,
        one.attributes or {},
        supersedes(one),
    )


def not_found(places: Iterable[Place], contents: Contents) -> list[str]:
    """A sentence on those whose content was not found; none where all were."""
    lost = [f"{SIDE_NAMES[side]} {one}" for side, one in places if (side, one) not in contents]
    if not lost:
        return []
    return [f"The content of {listed(lost)} lies further back in the log than was searched."]
