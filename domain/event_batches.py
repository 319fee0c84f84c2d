"""How a batch of events is written down, and read back.

A batch is stored as the text of one JSON array. Format 1 has an element per event: `[type, field,
…]`, the fields in the order of the classes in `domain.events`. That order is a storage format:
fields are added at the end, with a default, or the format is raised and an upcaster written.
Format 2 has besides, for many matches of a kind in a row, one element for all of them
(`MatchedPairs`): a hot reconciliation's log is almost all matches, and takes less than half the
space.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, cast

import msgspec

from domain.events import Event, RecordMatched

#: The newest format. A reader meets older ones too and raises them by `UPCASTERS`.
FORMAT: Final = 2
#: What every release reads: an element per event.
PLAIN_FORMAT: Final = 1

#: Source id, target id, currency, the source's amount, what the target's is above it, newest event
#: time: in minor units and milliseconds, as in `RecordMatched`.
Pair = tuple[str, str, str, int, int, int]

_PAIR = "one_to_one"
_kind = attrgetter("rule", "definition_version", "match_type", "compared")
# One match by itself is shorter as it is.
_PAIRS_MIN = 2


class MatchedPairs(msgspec.Struct, array_like=True, tag="MatchedPairs", frozen=True, gc=False):
    """As many `RecordMatched`: by one rule, each of one and one, compared as they are."""

    rule: str
    definition_version: int
    pairs: list[Pair]

    def events(self) -> list[RecordMatched]:
        """The events it stands for."""
        rule, version = self.rule, self.definition_version
        return [
            RecordMatched(
                rule, _PAIR, version, (source,), (target,), currency,
                minor, minor + above, newest_ms,
            )
            for source, target, currency, minor, above, newest_ms in self.pairs
        ]  # fmt: skip


#: An element of a batch.
Written = Event | MatchedPairs

#: Current `event_version` of every type; the batch formats fix them all.
EVENT_VERSION = 1

RawEvent = list[Any]
Upcaster = Callable[[RawEvent], RawEvent]

#: format → event type → what turns one raw element of that format into the next format's.
UPCASTERS: Mapping[int, Mapping[str, Upcaster]] = {}

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Written])
_raw_decoder = msgspec.json.Decoder(list[RawEvent])


def encode_plain(events: Sequence[Event]) -> bytes:
    """Write a batch down with an element per event, in `PLAIN_FORMAT`."""
    return _encoder.encode(events)


def encode_batch(events: Sequence[Event], newest: int = FORMAT) -> tuple[int, bytes]:
    """Write a batch down in format 2 where that puts matches together, else in the plain one.

    Args:
        newest: No newer format than this is written.

    Returns:
        The format and the text.
    """
    if newest == PLAIN_FORMAT:
        return PLAIN_FORMAT, encode_plain(events)
    elements = gathered(events)
    written = PLAIN_FORMAT if len(elements) == len(events) else FORMAT
    return written, _encoder.encode(elements)


def gathered(events: Sequence[Event]) -> list[Written]:
    """Put matches together that are of a kind and in a row."""
    elements: list[Written] = []
    for kind, run in groupby(events, type):
        if kind is RecordMatched:
            elements += _gathered(cast(list[RecordMatched], list(run)))
        else:
            elements += cast(Iterable[Event], run)
    return elements


def _gathered(matched: list[RecordMatched]) -> list[Written]:
    # Most often all are of a kind, and to see that is quicker than to go by kinds.
    together = _one_element(matched)
    if together is not None:
        return [together]
    elements: list[Written] = []
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
        if one.match_type == _PAIR
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
) -> list[Written]:
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
    return msgspec.convert(elements, list[Written])


def decode_events(
    text: str | bytes,
    batch_format: int = FORMAT,
    upcasters: Mapping[int, Mapping[str, Upcaster]] = UPCASTERS,
) -> list[Event]:
    """Read the events of a batch; see `decode_elements`."""
    events: list[Event] = []
    for element in decode_elements(text, batch_format, upcasters):
        if isinstance(element, MatchedPairs):
            events += element.events()
        else:
            events.append(element)
    return events
