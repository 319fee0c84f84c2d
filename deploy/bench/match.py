"""The matching benchmark: the pure engine on one core, beside a public engine and a bare join.

What is measured is CPU time of one thread: records are decoded before, as the flow does it, and
handed over in chunks; events come out, and at the end time runs out. Peers get the same records.
"""

import gc
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from deploy.bench import match_peers
from deploy.bench.match_records import CASES, Case, Group, chunks, groups
from deploy.bench.measured import BenchFailed
from domain.definition_parsing import parse_definition
from domain.events import RecordMatched
from domain.matching.subset_search import search
from domain.reconciliation import Chunk, Reconciliation

#: As in the flow: most of what a chunk makes lives long, so garbage is looked for seldom.
_GC_THRESHOLDS = (500_000, 20, 100_000)
#: Pairs for reconcile-py, which tries each with each: a million tries are a few seconds.
PEER_PAIRS = 1_000
CANDIDATES, MEMBERS_MAX = 40, 8
#: Groups that reconcile-py is asked for: with eight members it would take minutes for each.
PEER_MEMBERS, PEER_SEARCHES = 4, 5

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Searches:
    """Searches of one kind, and what they took.

    Attributes:
        ours_ms: CPU milliseconds of each, ascending.
        theirs_ms: Those of reconcile-py; empty without it.
    """

    ours_ms: list[float]
    theirs_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class MatchRun:
    """What one run measured.

    Attributes:
        cpu_seconds: Of the engine, by case.
        rates: Transactions a CPU second, by case.
        peer_rates: (case, peer) → theirs; without those that are not installed.
        searches: Subset searches by kind.
    """

    cpu_seconds: dict[str, float]
    rates: dict[str, float]
    peer_rates: dict[tuple[str, str], float]
    searches: dict[str, Searches]


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one core, where the system lets it choose."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    thresholds = gc.get_threshold()
    os.sched_setaffinity(0, {max(before)})
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        gc.set_threshold(*thresholds)


def measure(pairs: int, searches: int, say: Say, *, with_peers: bool) -> MatchRun:
    """Measure every case, and the searches.

    Args:
        pairs: Of each case, for the engine and for Polars.
        searches: Of each kind, for the engine.
        with_peers: They are installed.

    Raises:
        BenchFailed: The engine found too few matches, or too many.
    """
    run = MatchRun({}, {}, {}, {})
    for case in CASES:
        say(case.name)
        seconds = _engine(case, pairs)
        run.cpu_seconds[case.name] = seconds
        run.rates[case.name] = 2 * pairs / seconds
        if with_peers:
            few = min(pairs, PEER_PAIRS)
            tried = match_peers.reconcile_py(case, few)
            run.peer_rates[case.name, "reconcile_py"] = 2 * few / tried
            joined = match_peers.polars_join(case, pairs)
            run.peer_rates[case.name, "polars"] = 2 * pairs / joined
    say("subset_search")
    run.searches.update(_searches(searches, with_peers=with_peers))
    return run


def peak_mib() -> float:
    """The most memory this process has taken so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _engine(case: Case, pairs: int) -> float:
    given = list(chunks(case, pairs))
    state = Reconciliation(parse_definition(case.definition))
    matched = 0
    gc.collect()
    began = time.process_time()
    for chunk in given:
        events = state.advance(Chunk(chunk, caught_up=True)).events
        matched += sum([type(event) is RecordMatched for event in events])
    matched += sum([type(event) is RecordMatched for event in state.finish().events])
    seconds = time.process_time() - began
    if matched != pairs:
        raise BenchFailed(f"{case.name}: the engine made {matched} of {pairs} matches")
    return seconds


def _searches(count: int, *, with_peers: bool) -> dict[str, Searches]:
    kinds = {
        "subset_2_to_8": groups(
            count, candidates=CANDIDATES, members=(2, MEMBERS_MAX), amounts=(100, 100_000)
        ),
        "subset_8_of_18_digits": groups(
            count,
            candidates=CANDIDATES,
            members=(MEMBERS_MAX, MEMBERS_MAX),
            amounts=(10**16, 10**17),
        ),
    }
    found = {name: Searches(_search_all(some, MEMBERS_MAX)) for name, some in kinds.items()}
    # Amounts of 18 digits, so that four members have one sum and either may take the first it sees.
    few = groups(
        PEER_SEARCHES,
        candidates=CANDIDATES,
        members=(PEER_MEMBERS, PEER_MEMBERS),
        amounts=(10**16, 10**17),
    )
    theirs = match_peers.reconcile_py_groups(few, PEER_MEMBERS) if with_peers else []
    found["subset_4_of_18_digits"] = Searches(
        _search_all(few, PEER_MEMBERS), sorted(1_000 * one for one in theirs)
    )
    return found


def _search_all(some: list[Group], most: int) -> list[float]:
    times = []
    for group in some:
        began = time.process_time()
        found = search(group.amounts, group.total, group.total, most)
        times.append(1_000 * (time.process_time() - began))
        if found.outcome not in ("one", "several"):
            raise BenchFailed(f"a planted group was not found: {found.outcome}")
    return sorted(times)
