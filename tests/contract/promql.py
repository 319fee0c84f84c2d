"""What PromQL asks for, and what the processes have."""

import importlib
from functools import cache

import promql_parser
from prometheus_client import REGISTRY

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
