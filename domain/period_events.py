"""What becomes of business days; see `domain.periods`."""

import msgspec


class PeriodClosed(msgspec.Struct, array_like=True, tag="PeriodClosed", frozen=True, gc=False):
    """The business days up to and including `day`, an ISO date, are closed.

    By then event time had passed the day's end in the definition's time zone by all that a
    transaction waits. What is decided about them later counts in the days still open.
    """

    day: str
