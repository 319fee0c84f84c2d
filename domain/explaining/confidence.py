"""How sure a match is, and how that comes about."""

from domain.events import MatchConfirmed, MatchSuggested, RecordMatched


def confidence_of(event: RecordMatched | MatchSuggested | MatchConfirmed) -> tuple[float, str]:
    """Rate a match from 0 to 1, with the sentence on how.

    Every condition holds or does not, however near its bound, so what a rule matched is certain; of
    a set that fits in several ways each member has as many possible partners as the other side has
    members, at most.
    """
    if isinstance(event, MatchConfirmed):
        return 1.0, "1: a person decided."
    if isinstance(event, RecordMatched):
        return 1.0, "1: every condition of the rule holds."
    rivals = max(len(event.source_ids), len(event.target_ids))
    if event.single or rivals == 1:
        return (
            1.0,
            "1: every condition holds; a person decides.",
        )
    return round(1 / rivals, 4), (
        f"1 ÷ {rivals}: a member has up to {rivals} possible partners in the set."
    )
