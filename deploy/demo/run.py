"""The demo from start to verdict."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from connectors.synthetic.definitions import StreamSpec
from connectors.synthetic.facts import Difference
from deploy.demo.figures import Line, make_line, read_figures
from deploy.demo.load import IDLE_SECONDS, Load, corrupt, make_workload
from deploy.demo.product import Product
from deploy.demo.progress import display
from deploy.verdict import differences
from deploy.verification.run import Verified, verify
from domain.transactions import SIDE_NAMES

POLL_SECONDS = 0.25
# A machine a tenth as fast as a laptop still ends in time; what then is undecided is stuck.
DECIDED_SECONDS = 60.0
DECIDED_SECONDS_PER_TRANSACTION = 1 / 2_500


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a demo came to; exact when nothing differs from the generator's truth.

    Args:
        verified: What `settler verify` found, which knows nothing of that truth.
        decided: Whether everything sent was decided and shown in time.
        seconds: From the first message sent until it was, or until time was up.
        dead_letters: Refused records, found and expected.
    """

    sent: int
    decided: bool
    seconds: float
    lines: Sequence[Line]
    dead_letters: tuple[int, int]
    differences: Sequence[Difference]
    verified: Verified

    @property
    def proven(self) -> bool:
        """Whether verification found log, read models and Kafka in agreement."""
        return self.verified.holds and self.verified.kafka.problem is None

    @property
    def exact(self) -> bool:
        """Whether the result is the truth, record for record, and the API tells the same."""
        agreed = all(line.found == line.expected for line in self.lines)
        return self.decided and agreed and not self.differences


def run_demo(
    product: Product,
    transactions: int,
    seed: int,
    *,
    corrupt_truth: bool = False,
    seconds_max: float | None = None,
) -> Outcome:
    """Stream generated transactions through a running product and judge what came out.

    Args:
        corrupt_truth: Hold the result against a falsified truth, to see that it is noticed.
        seconds_max: How long the roles may take; default a minute and more for more transactions.
            What they have come to by then is judged.

    Raises:
        DemoFailed: A role could not be kept running.
        LoadNotSent: The broker did not take everything.
    """
    workload = make_workload(transactions, seed)
    for definition in workload.definitions(IDLE_SECONDS):
        product.define(definition)
    load = Load(workload, product.kafka_config, product.topic_prefix)
    begin = time.monotonic()
    if seconds_max is None:
        seconds_max = DECIDED_SECONDS + transactions * DECIDED_SECONDS_PER_TRANSACTION
    load.start()
    try:
        decided = _watch(product, load, transactions, begin + seconds_max)
        seconds = time.monotonic() - begin
        sent = load.finish()
    finally:
        load.stop()
    if corrupt_truth:
        corrupt(load.truth)
    with product.connect() as connection:
        found = differences(connection, load.truth)
        dead_letters = read_figures(connection).rejected, len(load.truth.dead_letters)
        topics = [f"{product.topic_prefix}.transactions.{side}" for side in SIDE_NAMES]
        verified = verify(connection, topics, product.kafka_config)
    lines = [
        make_line(spec.stream_id, _summary(product, spec), load.truth.of_stream(spec.stream_id))
        for spec in workload.streams
    ]
    return Outcome(sent, decided, seconds, lines, dead_letters, found, verified)


def _watch(product: Product, load: Load, transactions: int, deadline: float) -> bool:
    """Show progress until everything sent is decided and readable; False when time is up."""
    with product.connect() as connection, display(transactions) as shown:
        while time.monotonic() < deadline:
            product.check()
            done = load.done
            if done:
                load.finish()  # raises what ended it
            figures = read_figures(connection)
            shown.show(figures, load.sent)
            if done and figures.decided(load.sent):
                return True
            time.sleep(POLL_SECONDS)
    return False


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
        "decided": outcome.decided,
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
        "verified": {
            "holds": outcome.proven,
            "differences": [str(one) for one in outcome.verified.differences],
        },
    }
