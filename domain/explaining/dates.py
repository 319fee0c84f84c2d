"""Dates: how far apart the sides are in each measure of a rule's window, and what it allows."""

from collections.abc import Sequence
from decimal import Decimal

from domain.definitions import DateWindow
from domain.explaining.shown import SpanShown
from domain.explaining.wording import counted, day_text, listed
from domain.instants import SECOND_US, instant_text
from domain.matching.compiled import CompiledRule
from domain.matching.dates import LocalDays, Span
from domain.matching.legs import Leg
from domain.transactions import Transaction


def show_dates(
    rule: CompiledRule,
    sources: Sequence[Transaction],
    targets: Sequence[Transaction],
    legs: tuple[Sequence[Leg], Sequence[Leg]],
) -> list[SpanShown]:
    """Each span of a rule's window over two sides, with the spans' own verdict.

    Args:
        legs: The same sources and targets as the rule sees them.
    """
    window = rule.rule.date
    if window is None:
        return []
    anchors = None
    if rule.anchored:
        anchors = [leg.transaction_id for leg in rule.anchors(*legs)]
    return [_show(window, span, slot, sources, targets, legs, anchors) for slot, span in rule.spans]


def _show(
    window: DateWindow,
    span: Span,
    slot: int,
    sources: Sequence[Transaction],
    targets: Sequence[Transaction],
    legs: tuple[Sequence[Leg], Sequence[Leg]],
    anchors: list[str] | None,
) -> SpanShown:
    begins, ends = ([leg.keys[slot] for leg in side] for side in legs)
    apart: tuple[int, int] | None = None
    if None not in begins and None not in ends:
        apart = min(ends) - max(begins), max(ends) - min(begins)
    if anchors is not None:
        holds = bool(anchors)
    else:
        holds = apart is not None and all(map(span.allows, apart))
    low, high = window.min_days, window.max_days
    if span.is_instants:
        low, high = -(window.max_seconds or 0), window.max_seconds
    over = None if apart is None or holds or anchors is not None else _over(span, apart, low, high)
    shown = [_number(span, one) for one in apart] if apart is not None else None
    allowed = _allowed(window, span)
    measured = _measured(window, span, sources, targets, shown)
    return SpanShown(
        measure="seconds" if span.is_instants else "business_days" if window.business else "days",
        time_zone=None if span.is_instants else window.time_zone,
        least=None if shown is None else shown[0],
        most=None if shown is None else shown[1],
        low=None if low is None else str(low),
        high=None if high is None else str(high),
        inclusive=window.inclusive,
        over=over,
        anchors=anchors,
        holds=holds,
        sentence=_sentence(measured, allowed, over, anchors, holds=holds),
    )


def _number(span: Span, apart: int) -> str:
    return f"{Decimal(apart) / SECOND_US:f}" if span.is_instants else str(apart)


def _over(span: Span, apart: tuple[int, int], low: int | None, high: int | None) -> str:
    """How far outside the end that is missed by most; 0 is an end that is not allowed."""
    unit = SECOND_US if span.is_instants else 1
    misses = [0]
    if low is not None:
        misses.append(low * unit - apart[0])
    if high is not None:
        misses.append(apart[1] - high * unit)
    return _number(span, max(misses))


def _measured(
    window: DateWindow,
    span: Span,
    sources: Sequence[Transaction],
    targets: Sequence[Transaction],
    shown: list[str] | None,
) -> str:
    if shown is None:
        dated = [one.transaction_id for one in (*sources, *targets) if one.is_date]
        return f"A bare date is no instant, so the seconds of {listed(dated)} cannot be compared"
    if span.is_instants:
        unit = "seconds"
        sides = [_ends([instant_text(one.occurred_at) for one in side])
                 for side in (sources, targets)]  # fmt: skip
    else:
        day = LocalDays(window.time_zone).of
        unit = "business days" if window.business else "days"
        sides = [_ends([day_text(day(one)) for one in side]) for side in (sources, targets)]
    apart = shown[0] if shown[0] == shown[1] else f"{shown[0]} to {shown[1]}"
    zone = "" if span.is_instants or window.time_zone == "UTC" else f" in {window.time_zone}"
    return (
        f"The source side is of {sides[0]}, the target side of {sides[1]}{zone}: target less "
        f"source is {apart} {unit if shown != ['1', '1'] else unit.removesuffix('s')}"
    )


def _ends(texts: list[str]) -> str:
    least, most = min(texts), max(texts)
    return least if least == most else f"{least} to {most}"


def _allowed(window: DateWindow, span: Span) -> str:
    ends = "" if window.inclusive else ", ends not included"
    if span.is_instants:
        return f"{window.max_seconds} seconds either way{ends}"
    unit = "business days" if window.business else "days"
    if window.holidays:
        unit += f" less {counted(len(window.holidays), 'holiday')}"
    if window.min_days is None:
        return f"at most {window.max_days} {unit}{ends}"
    if window.max_days is None:
        return f"at least {window.min_days} {unit}{ends}"
    return f"{window.min_days} to {window.max_days} {unit}{ends}"


def _sentence(
    measured: str, allowed: str, over: str | None, anchors: list[str] | None, *, holds: bool
) -> str:
    if anchors is not None:
        said = f"{measured}; the rule asks for one source in whose window of {allowed} all others"
        if holds:
            return f"{said} lie: {listed(anchors)}."
        return f"{said} lie, and there is none."
    if holds:
        return f"{measured}, and the rule allows {allowed}."
    if over is None:
        return f"{measured}; the rule allows {allowed}."
    beyond = "exactly an end" if Decimal(over) == 0 else f"{over} too far"
    return f"{measured}, and the rule allows {allowed}: {beyond}."
