"""The alerting rules: PromQL that parses, over metrics and labels that the processes have."""

import importlib
import re
from functools import cache
from pathlib import Path

import promql_parser
import pytest
import typer
import yaml
from prometheus_client import REGISTRY

from deploy.cli.main import app

ROOT = Path(__file__).parents[2]
RULES = [
    pytest.param(rule, id=rule["alert"])
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())[
        "groups"
    ]
    for rule in group["rules"]
]
MODULES = (
    "api.app", "connectors.kafka_sending", "connectors.postgres.metrics", "flows.process",
    "flows.publish", "projections.runner",
)  # fmt: skip
#: What Prometheus adds to a metric's own name and labels.
SUFFIXES = ("_total", "_bucket", "_sum", "_count")


@cache
def labels_of_metrics() -> dict[str, set[str]]:
    """Every name a series can have → the labels it has."""
    for module in MODULES:
        importlib.import_module(module)
    found = {}
    for collector in REGISTRY._collector_to_names:
        labels = set(getattr(collector, "_labelnames", ()))
        for name in REGISTRY._collector_to_names[collector]:
            found[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return found


def parts_of(expression: str) -> list[object]:
    """Every part of an expression, the whole first."""
    found: list[object] = []
    promql_parser.walk(promql_parser.parse(expression), found.append)
    return found


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """What an expression asks Prometheus for."""
    return [one for one in parts_of(expression) if isinstance(one, promql_parser.VectorSelector)]


def grouped(expression: str) -> set[str]:
    """Labels that its aggregations keep."""
    modifiers = (getattr(one, "modifier", None) for one in parts_of(expression))
    return {label for one in modifiers for label in getattr(one, "labels", None) or ()}


def is_command(words: list[str]) -> bool:
    """Whether `settler` takes these words: a command, or a group's with its first argument."""
    group = typer.main.get_command(app)
    for word in words:
        commands = getattr(group, "commands", None)
        if commands is None:
            return True  # an argument
        if word not in commands:
            return False
        group = commands[word]
    return True


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_asks_for_what_there_is(rule):
    asked = selectors(rule["expr"])
    assert asked, "a rule asks for something"
    known = labels_of_metrics()
    for selector in asked:
        assert selector.name in known, f"no process has the metric {selector.name}"
        used = {one.name for one in selector.matchers.matchers} | grouped(rule["expr"])
        assert used <= known[selector.name], f"{selector.name} has no label {used}"
    told = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", told)) <= grouped(rule["expr"])
    assert rule["labels"]["severity"] in {"critical", "warning"}


@pytest.mark.parametrize("rule", RULES)
def test_what_it_tells_to_do_can_be_done(rule):
    told = " ".join(rule["annotations"].values())
    for runbook in re.findall(r"docs/\S+\.md", told):
        assert (ROOT / runbook).is_file(), runbook
    for metric in re.findall(r"\bsettler_\w+", told):
        assert any(metric + more in labels_of_metrics() for more in ("", *SUFFIXES)), metric
    for command in re.findall(r"`settler ([^`]+)`", told):
        words = re.sub(r" --.*", "", command).split()
        assert is_command(words), f"no command settler {command}"


def test_a_rule_over_an_unknown_metric_would_be_noticed():
    (selector,) = selectors("rate(settler_flow_nothing_total[5m]) > 0")
    assert selector.name not in labels_of_metrics()
    assert not is_command(["flow", "nothing"])
