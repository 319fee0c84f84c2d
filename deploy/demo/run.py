"""The demo from start to verdict."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from connectors.synthetic.definitions import StreamSpec
from connectors.synthetic.facts import Difference
from deploy.demo.figures import Figures, Line, make_line, read_figures
from deploy.demo.load import IDLE_SECONDS, Load, corrupt, make_workload
from deploy.demo.product import DemoFailed, Product
from deploy.demo.progress import display
from deploy.verdict import differences

POLL_SECONDS = 0.25
DECIDED_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a demo came to; exact when nothing differs from the generator's truth.

    Args:
        seconds: From the first message sent to everything decided and shown.
        dead_letters: Refused records, found and expected.
    """

    sent: int
    seconds: float
    lines: Sequence[Line]
    dead_letters: tuple[int, int]
    differences: Sequence[Difference]

    @property
    def exact(self) -> bool:
        """Whether the result is the truth, record for record, and the API tells the same."""
        return not self.differences and all(line.found == line.expected for line in self.lines)


def run_demo(
    product: Product, transactions: int, seed: int, *, corrupt_truth: bool = False
) -> Outcome:
    """Stream generated transactions through a running product and judge what came out.

    Args:
        corrupt_truth: Hold the result against a falsified truth, to see that it is noticed.

    Raises:
        DemoFailed: A role failed, or the flow did not come to an end.
    """
    workload = make_workload(transactions, seed)
    for definition in workload.definitions(IDLE_SECONDS):
        product.define(definition)
    load = Load(workload, product.kafka_config, product.topic_prefix)
    begin = time.monotonic()
    load.start()
    try:
        _watch(product, load, transactions)
        seconds = time.monotonic() - begin
        sent = load.finish()
    finally:
        load.stop()
    if corrupt_truth:
        corrupt(load.truth)
    with product.connect() as connection:
        found = differences(connection, load.truth)
        dead_letters = read_figures(connection).rejected, len(load.truth.dead_letters)
    lines = [
        make_line(spec.stream_id, _summary(product, spec), load.truth.of_stream(spec.stream_id))
        for spec in workload.streams
    ]
    return Outcome(sent, seconds, lines, dead_letters, found)


def _watch(product: Product, load: Load, transactions: int) -> None:
    """Show progress until everything sent is decided and readable."""
    deadline = time.monotonic() + DECIDED_SECONDS
    figures: Figures | None = None
    with product.connect() as connection, display(transactions) as shown:
        while time.monotonic() < deadline:
            product.check()
            done = load.done
            if done:
                load.finish()  # raises what ended it
            figures = read_figures(connection)
            shown.show(figures, load.sent)
            if done and figures.decided(load.sent):
                return
            time.sleep(POLL_SECONDS)
    raise DemoFailed(f"not everything was decided within {DECIDED_SECONDS:.0f} s: {figures}")


def _summary(product: Product, spec: StreamSpec) -> dict[str, Any]:
    client = product.client(spec.tenant_id)
    summary: dict[str, Any] = client.get(
        f"/api/v1/reconciliations/{spec.reconciliation_id}/summary"
    )
    return summary


def report(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as plain values for JSON."""
    names = ("accepted", "matches", "suggestions", "exceptions")
    return {
        "transactions": outcome.sent,
        "seconds": round(outcome.seconds, 2),
        "exact": outcome.exact,
        "reconciliations": [
            {
                "reconciliation": line.reconciliation,
                "found": dict(zip(names, line.found, strict=True)),
                "expected": dict(zip(names, line.expected, strict=True)),
            }
            for line in outcome.lines
        ],
        "dead_letters": dict(zip(("found", "expected"), outcome.dead_letters, strict=True)),
        "differences": [str(one) for one in outcome.differences],
    }
