"""The alerting rules: PromQL that parses, over metrics and labels that the processes have."""

import re
from pathlib import Path

import pytest
import typer
import yaml

from deploy.cli.main import app
from tests.contract.promql import SUFFIXES, grouped, labels_of_metrics, selectors

ROOT = Path(__file__).parents[2]
RULES = [
    pytest.param(rule, id=rule["alert"])
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())[
        "groups"
    ]
    for rule in group["rules"]
]


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
