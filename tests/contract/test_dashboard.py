"""The dashboard for Grafana: every panel asks for what the processes have."""

import itertools
import json
import re
from pathlib import Path

import pytest

from tests.contract.promql import grouped, labels_of_metrics, selectors

DASHBOARD = json.loads(
    (Path(__file__).parents[2] / "deploy" / "grafana" / "settler.json").read_text()
)
PANELS = [one for one in DASHBOARD["panels"] if one["type"] != "row"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_there_is(panel):
    assert panel["description"]
    assert panel["datasource"]["uid"] == "${datasource}"
    known = labels_of_metrics()
    for target in panel["targets"]:
        asked = selectors(target["expr"])
        assert asked
        for selector in asked:
            assert selector.name in known, f"no process has the metric {selector.name}"
            assert grouped(target["expr"]) <= known[selector.name]
            told = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert told <= known[selector.name], "a label to tell series apart by"


def test_panels_stand_side_by_side():
    assert len({one["id"] for one in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    places = [one["gridPos"] for one in DASHBOARD["panels"]]
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_every_flow_metric_has_its_place():
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    own = {
        re.sub(r"_(total|bucket|sum|count|created)$", "", name)
        for name in labels_of_metrics()
        if name.startswith("settler_flow_")
    }
    assert own
    assert {one for one in own if one not in shown} == {"settler_flow_frozen_blocks"}
