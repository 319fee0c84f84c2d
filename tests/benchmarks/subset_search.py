"""How long one subset search takes, over amounts narrow and wide, solvable and hopeless.

    python -m tests.benchmarks.subset_search

Prints median, 95th percentile and maximum in milliseconds, and what the searches answered.
"""

import random
import statistics
import time
from collections import Counter

from domain.matching.subset_search import search

# Name, candidates, largest group, lowest and highest amount, members planted (0: a random target).
CASES = (
    ("cents, 2-8 planted", 40, 8, 100, 100_000, None),
    ("cents, 8 planted", 40, 8, 100, 100_000, 8),
    ("cents, hopeless or not", 40, 8, 100, 100_000, 0),
    ("either sign, 2-8 planted", 40, 8, -100_000, 100_000, None),
    ("up to 100,000.00, 2-8 planted", 40, 8, 1, 10**7, None),
    ("18 digits, 2-8 planted", 40, 8, 10**16, 10**17, None),
    ("18 digits, 8 planted", 40, 8, 10**16, 10**17, 8),
    ("18 digits, hopeless", 40, 8, 10**16, 10**17, 0),
    ("200 candidates, cents", 200, 8, 100, 100_000, 8),
    ("5,000 candidates, cents", 5_000, 8, 100, 100_000, 8),
    ("10,000 twins", 10_000, 8, 100, 100, 3),
)
RUNS = 50


def run_case(
    candidates: int, most: int, low: int, high: int, planted: int | None
) -> tuple[list[float], Counter[str]]:
    """Milliseconds of every run, sorted, and how often each outcome came."""
    times: list[float] = []
    outcomes: Counter[str] = Counter()
    for seed in range(RUNS):
        rng = random.Random(seed)
        amounts = [rng.randint(low, high) for _ in range(candidates)]
        members = rng.randint(2, most) if planted is None else planted
        target = sum(rng.sample(amounts, members)) if members else rng.randint(low, high * most)
        begin = time.perf_counter()
        found = search(amounts, target, target, most)
        times.append((time.perf_counter() - begin) * 1_000)
        outcomes[found.outcome] += 1
    return sorted(times), outcomes


def main() -> None:
    """Print one line a case."""
    for name, *numbers in CASES:
        times, outcomes = run_case(*numbers)
        print(
            f"{name:32} median {statistics.median(times):6.2f} ms   "
            f"p95 {times[int(len(times) * 0.95)]:6.2f}   max {times[-1]:6.2f}   {dict(outcomes)}"
        )


if __name__ == "__main__":
    main()
