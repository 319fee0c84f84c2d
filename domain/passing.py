"""Event time: how far it has come by what was read, and by the clock once nothing comes."""

from domain.definitions import Window


def time_by_input(newest: list[int | None], window: Window) -> int | None:
    """Event time, microseconds, once these are the newest of each side; None if one is not seen."""
    source, target = newest
    if source is None or target is None:
        return None
    return min(source, target) - window.lateness_us


def time_by_clock(
    by_input: int | None, now_us: int, last_input_us: int | None, window: Window
) -> int | None:
    """Event time by the clock, once there was no input for long enough.

    Args:
        by_input: What it is by input.
        now_us: The clock.
        last_input_us: The clock at the last input, None where there was none.
    """
    since = now_us if last_input_us is None else last_input_us
    if now_us - since < window.idle_us:
        return by_input
    by_clock = now_us - window.lateness_us
    return by_clock if by_input is None else max(by_input, by_clock)
