"""What one client of the live stream is sent, given what is in the read models."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from api.live import LiveState, LiveView, make_state

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FIGURES = {
    "name": "a\nb", "definition_version": 1, "status": "active", "accepted_source": 1,
    "accepted_target": 0, "pending": 1, "transactions_matched": 0, "transactions_suggested": 0,
    "transactions_exception": 0, "duplicates": 0, "superseded": 0, "matches_confirmed": 0,
    "suggestions_open": 0, "exceptions_open": 0, "exceptions_resolved": 0, "redelivered": 0,
    "rejected": 0, "watermark_at": None, "first_event_at": NOW, "last_event_at": NOW,
    "behind_seconds": None,
}  # fmt: skip


def row(name, position):
    return FIGURES | {"reconciliation_id": name, "position": position}


def news(view, rows):
    return view.news(LiveState(make_state(rows, []).summaries, (), is_behind=False))


def read(pieces):
    events = []
    for piece in pieces:
        assert piece.endswith(b"\n\n")
        lines = piece.decode().strip("\n").split("\n")
        fields = dict(line.split(": ", 1) for line in lines)
        events.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
    return events


def test_a_line_break_in_a_name_breaks_no_event():
    (event,) = read(news(LiveView(0), [row("orders", 3)]))
    assert (event[0], event[1]["name"], event[2]) == ("summary", "a\nb", "3")


def test_what_has_not_moved_is_not_sent_again():
    view = LiveView(0)
    assert len(news(view, [row("a", 1), row("b", 2)])) == 2
    assert news(view, [row("a", 1), row("b", 2)]) == []
    assert [event[1]["reconciliation_id"] for event in read(
        news(view, [row("a", 1), row("b", 4)])
    )] == ["b"]  # fmt: skip


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), max_size=3), max_size=6),
    st.integers(0, 20),
)
def test_a_client_that_breaks_off_anywhere_ends_with_what_is_there(steps, cut):
    positions: dict[str, int] = {}
    shown: dict[str, int] = {}
    view, last, sent, top = LiveView(0), 0, 0, 0
    for step in steps:
        for name in sorted(step):
            top += step[name]
            positions[name] = top
        for _, data, event_id in read(news(view, [row(*pair) for pair in positions.items()])):
            sent += 1
            if sent == cut:
                # The connection is lost before this event arrives: a new one goes on after `last`.
                view = LiveView(last)
                break
            shown[data["reconciliation_id"]], last = data["position"], int(event_id)
    for _, data, _ in read(news(view, [row(*pair) for pair in positions.items()])):
        shown[data["reconciliation_id"]] = data["position"]
    assert shown == positions
