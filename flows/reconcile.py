"""The dataflow that reconciles: Kafka in, one commit a flush out.

    Kafka source ──────────────┐                                   (stream, chunk)
    Kafka target ──────────────┼─▶ key_by_tenant_reconciliation ──▶ match_window ──▶ store
    commands, ticks, redrives ─┘

`python -m bytewax.run flows.reconcile:flow -s 0.5` runs it; `settler run flow` runs it with a
lease, signals and metrics around it.
"""

import gc
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import bytewax.operators as op
import structlog
from bytewax.dataflow import Dataflow
from bytewax.testing import cluster_main, run_main

from connectors.kafka import Records
from connectors.settings import Settings
from connectors.telemetry import configure_logging, configure_tracing, start_metrics_server
from flows.arrivals import key_by_tenant_reconciliation
from flows.inputs import Inputs
from flows.process import FlowProcess
from flows.storing import StoreSink
from flows.windows import MatchWindow

log = structlog.get_logger(__name__)

# What a crash replays, and how far saved offsets trail: events wait for neither.
EPOCH = timedelta(seconds=0.5)
# Open transactions live for days: collecting all of them again and again finds nothing and stops
# the flow for seconds. Young garbage is still collected; what is on its way to the store comes to
# some 600,000 lists and tuples without a cycle among them.
_GC_THRESHOLDS = (2_000_000, 20, 100_000)


def build_flow(process: FlowProcess) -> Dataflow:
    """Wire the dataflow. Bytewax stores nothing of ours, so step ids may change.

    Args:
        process: Gives each worker its stores, and the topics their offsets.
    """
    flow = Dataflow("settler")
    keyed = op.flat_map(
        "key_by_tenant_reconciliation",
        op.input("inputs", flow, Inputs(process.parts, EPOCH if process.clustered else None)),
        lambda given: (
            key_by_tenant_reconciliation(given, process.clock.now_us())
            if isinstance(given, Records)
            else (given,)
        ),
    )
    decided = op.stateful_batch(
        "match_window", keyed, lambda _resume: MatchWindow(process.surroundings())
    )
    op.output("store", decided, StoreSink(process.writer))
    return flow


def main(
    settings: Settings,
    addresses: list[str] | None = None,
    index: int = 0,
    *,
    by_itself: bool = False,
) -> int:
    """Run the flow until SIGTERM; return the exit code.

    Args:
        addresses: host:port of every process of the cluster, this one's included; None: alone.
        index: This process's place among them. Process 0 holds the lease for all.
        by_itself: Nobody ends all processes of the cluster when one has ended: they see to that
            themselves, and each is the only one at its address.
    """
    configure_logging(settings, "flow")
    configure_tracing(settings, "flow")
    start_metrics_server(
        settings.metrics_port_for("flow", 0 if by_itself else index), settings.metrics_host
    )
    gc.set_threshold(*_GC_THRESHOLDS)
    process = FlowProcess(settings, clustered=bool(addresses and len(addresses) > 1))
    process.stop_on_signals()
    if not process.hold_lease(index):
        return 0
    if by_itself and addresses and not process.join_cluster(addresses, index):
        return 0
    process.watch_progress(showing=index == 0)
    log.info("flow.started", processes=len(addresses or [""]), index=index)
    flow = build_flow(process)
    try:
        if addresses:
            run = cast("Callable[..., None]", cluster_main)  # Bytewax does not type these
            run(flow, addresses, index, epoch_interval=EPOCH)
        else:
            # Alone, the one worker runs in this thread: no other has to be woken for signals.
            cast("Callable[..., None]", run_main)(flow, epoch_interval=EPOCH)
        process.drain()
    except BaseException:
        # Of a cluster others still run, and it is the supervisor that holds their lease.
        if not addresses:
            process.give_up_lease()
        raise
    if index == 0:
        process.release_lease()
    log.info("flow.stopped")
    return 0


def __getattr__(name: str) -> Any:
    """`flow`, made when it is asked for: importing this module reads no settings."""
    if name != "flow":
        raise AttributeError(name)
    settings = Settings.load()
    configure_logging(settings, "flow")
    configure_tracing(settings, "flow")
    process = FlowProcess(settings, clustered=True)
    process.stop_on_signals()
    process.watch_progress()
    return build_flow(process)
