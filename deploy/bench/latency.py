"""Latency at a steady load: from a pair being complete in Kafka to its match being readable."""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from deploy.bench.measured import BenchFailed, Role, sending, until
from deploy.bench.records import Pairs
from deploy.bench.stage import Stage

SAMPLES_PER_SECOND = 50
#: Left out at the beginning, while processes take up speed; counted from the first sample.
WARM_UP_SHARE = 0.1
POLL_SECONDS = 0.01
LATE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from a pair's second leg being confirmed to its match being readable."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    samples: int
    transactions_per_second: float


def measure_latency(
    stage: Stage,
    url: str,
    prefix: str,
    pairs: Pairs,
    pairs_per_second: float,
    seconds: float,
    roles: Sequence[Role],
) -> Latency:
    """Send pairs at a steady rate and look for the matches of some of them.

    Args:
        url: Of the database in which matches appear.
        roles: The running product; each is looked after meanwhile.

    Raises:
        BenchFailed: A match did not appear, or a process ended.
    """
    task = {
        "servers": stage.servers,
        "prefix": prefix,
        "first_ms": pairs.first_ms,
        "pairs_per_second": pairs_per_second,
        "seconds": seconds,
        "sample_every": max(1, int(pairs_per_second / SAMPLES_PER_SECOND)),
    }
    log_path = stage.folder / "load.log"
    with (
        sending("steady_load", task, stage.children, log_path) as process,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        readable, sent_at = _watch(process, log_path, connection, pairs, roles, seconds)
    ordered = sorted(sent_at.items(), key=lambda item: item[1])
    counted = ordered[int(len(ordered) * WARM_UP_SHARE) :]
    delays = sorted((readable[number] - at) * 1000 for number, at in counted)
    if not delays:
        raise BenchFailed(f"the steady load of {seconds:g} s had no samples")
    return Latency(
        p50_ms=_quantile(delays, 0.5),
        p99_ms=_quantile(delays, 0.99),
        max_ms=delays[-1],
        samples=len(delays),
        transactions_per_second=pairs_per_second * 2,
    )


def _watch(
    process: "subprocess.Popen[bytes]",
    log_path: Path,
    connection: "psycopg.Connection[tuple[str]]",
    pairs: Pairs,
    roles: Sequence[Role],
    seconds: float,
) -> tuple[dict[int, float], dict[int, float]]:
    """Returns when each sampled pair's match was readable, and when the pair was complete."""
    sent_at: dict[int, float] = {}
    readable: dict[int, float] = {}
    outstanding: dict[str, int] = {}
    tail = ""
    looked_at = 0.0
    with log_path.open() as lines:
        for _ in until(seconds + LATE_SECONDS, "the sampled matches", every=POLL_SECONDS):
            ended = process.poll()
            *whole, tail = (tail + lines.read()).split("\n")
            for line in whole:
                number, at = _sample(line)
                sent_at[number] = at
                outstanding[pairs.match_id(number)] = number
            if outstanding:
                query = "SELECT match_id::text FROM matches WHERE match_id = ANY(%s::uuid[])"
                found = connection.execute(query, (list(outstanding),)).fetchall()
                now = time.time()
                for (match_id,) in found:
                    readable[outstanding.pop(match_id)] = now
            if ended is not None and not outstanding and not whole:
                if ended:
                    raise BenchFailed(f"the load generator ended with {ended}: {tail}")
                break
            if time.monotonic() - looked_at > 0.5:
                looked_at = time.monotonic()
                for role in roles:
                    role.look()
    return readable, sent_at


def _sample(line: str) -> tuple[int, float]:
    number, _, at = line.partition(" ")
    try:
        return int(number), float(at)
    except ValueError:
        raise BenchFailed(f"the load generator said: {line}") from None


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
