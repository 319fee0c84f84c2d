"""How a batch of events is written down, and read back.

A batch is stored as the text of one JSON array. Format 1 has an element per event: `[type, field,
…]`, the fields in the order of the classes in `domain.events`. That order is a storage format:
fields are added at the end, with a default, or the format is raised and an upcaster written.
Format 2 has besides, for many matches of a kind in a row, one element for all of them
(`MatchedPairs`): a hot reconciliation's log is almost all matches, and takes less than half the
space.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, cast

import msgspec

from domain.events import Event, RecordMatched
from domain.matched_pairs import PAIR, MatchedPairs, Pair, Told, events_of

#: The newest format. A reader meets older ones too and raises them by `UPCASTERS`.
FORMAT: Final = 2
#: What every release reads: an element per event.
PLAIN_FORMAT: Final = 1

_kind = attrgetter("rule", "definition_version", "match_type", "compared")
# One match by itself is shorter as it is.
_PAIRS_MIN = 2


#: Current `event_version` of every type; the batch formats fix them all.
EVENT_VERSION = 1

RawEvent = list[Any]
Upcaster = Callable[[RawEvent], RawEvent]

#: format → event type → what turns one raw element of that format into the next format's.
UPCASTERS: Mapping[int, Mapping[str, Upcaster]] = {}

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Told])
_raw_decoder = msgspec.json.Decoder(list[RawEvent])


def encode_plain(events: Sequence[Event]) -> bytes:
    """Write a batch down with an element per event, in `PLAIN_FORMAT`."""
    return _encoder.encode(events)


def encode_batch(told: Sequence[Told], newest: int = FORMAT) -> tuple[int, bytes]:
    """Write a batch down in format 2 where it has matches told together, else in the plain one.

    Args:
        newest: No newer format than this is written.

    Returns:
        The format and the text.
    """
    if newest == PLAIN_FORMAT:
        return PLAIN_FORMAT, encode_plain(events_of(told))
    elements = gathered(told)
    written = FORMAT if any(type(one) is MatchedPairs for one in elements) else PLAIN_FORMAT
    return written, _encoder.encode(elements)


def gathered(told: Sequence[Told]) -> list[Told]:
    """Put matches together that are of a kind and in a row; what is together stays as it is."""
    elements: list[Told] = []
    for kind, run in groupby(told, type):
        if kind is RecordMatched:
            elements += _gathered(cast(list[RecordMatched], list(run)))
        else:
            elements += run
    return elements


def _gathered(matched: list[RecordMatched]) -> list[Told]:
    # Most often all are of a kind, and to see that is quicker than to go by kinds.
    together = _one_element(matched)
    if together is not None:
        return [together]
    elements: list[Told] = []
    for _, run in groupby(matched, _kind):
        of_a_kind = list(run)
        together = _one_element(of_a_kind)
        elements += of_a_kind if together is None else [together]
    return elements


def _one_element(matched: list[RecordMatched]) -> MatchedPairs | None:
    """The one element for all of these; None where they need one each."""
    pairs = _pairs(matched)
    if len(pairs) < max(len(matched), _PAIRS_MIN):
        return None
    return MatchedPairs(matched[0].rule, matched[0].definition_version, pairs)


def _pairs(matched: list[RecordMatched]) -> list[Pair]:
    """Those of the first's rule and version, of one and one and compared as they are."""
    rule, version = matched[0].rule, matched[0].definition_version
    return [
        (
            one.source_ids[0],
            one.target_ids[0],
            one.currency,
            one.source_minor,
            one.target_minor - one.source_minor,
            one.newest_ms,
        )
        for one in matched
        if one.match_type == PAIR
        and one.rule == rule
        and one.definition_version == version
        and one.compared is None
        and len(one.source_ids) == 1
        and len(one.target_ids) == 1
    ]


def decode_elements(
    text: str | bytes,
    batch_format: int = FORMAT,
    upcasters: Mapping[int, Mapping[str, Upcaster]] = UPCASTERS,
) -> list[Told]:
    """Read the elements of a batch of any known format as those of the current one.

    Raises:
        ValueError: The batch was written by a newer release.
        msgspec.ValidationError: The text is not a batch.
    """
    if batch_format > FORMAT:
        raise ValueError(
            f"event batch has format {batch_format}, this release reads up to {FORMAT}; "
            "run the release that wrote it or a newer one"
        )
    steps = [upcasters.get(step, {}) for step in range(batch_format, FORMAT)]
    if not any(steps):
        return _decoder.decode(text)
    elements = _raw_decoder.decode(text)
    for of_step in steps:
        elements = [
            of_step[element[0]](element) if element[0] in of_step else element
            for element in elements
        ]
    return msgspec.convert(elements, list[Told])


def decode_events(
    text: str | bytes,
    batch_format: int = FORMAT,
    upcasters: Mapping[int, Mapping[str, Upcaster]] = UPCASTERS,
) -> list[Event]:
    """Read the events of a batch; see `decode_elements`."""
    return events_of(decode_elements(text, batch_format, upcasters))
