"""Many seeds one after another, on record in a file: a long series goes on where it ended."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from deploy.bench.chaos.run import RunResult, RunSettings, Say, run_seed
from domain.errors import SettlerError

_line = msgspec.json.Decoder(RunResult)


class SeedsInvalid(SettlerError):
    """What was given as seeds, or the file of an earlier series, cannot be used."""

    code = "chaos.series_invalid"


def parse_seeds(text: str) -> list[int]:
    """Read seeds such as `7`, `1-100` or `1-10,42`; each is run once, in that order.

    Raises:
        SeedsInvalid: It is not of that form.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise SeedsInvalid(f"seeds are given as 7, 1-100 or 1-10,42; {text!r} is none of these")
        if dash and int(last) < int(first):
            raise SeedsInvalid(f"the seeds {part.strip()} go backwards")
        seeds |= dict.fromkeys(range(int(first), int(last or first) + 1))
    return list(seeds)


def read_state(path: Path) -> list[RunResult]:
    """Read what was run before; a last line that was cut short counts as not run.

    Raises:
        SeedsInvalid: A line is not of a series.
    """
    if not path.exists():
        return []
    results = []
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            break
        try:
            results.append(_line.decode(line))
        except msgspec.DecodeError as exc:
            raise SeedsInvalid(
                f"line {number} of {path} is not the result of a seed: {exc}; name another file"
            ) from exc
    return results


def run_series(
    seeds: list[int],
    settings: RunSettings,
    say: Say,
    *,
    state: Path | None = None,
    logs: Path | None = None,
) -> Iterator[RunResult]:
    """Run every seed that the state file does not have yet; yield the results, earlier ones first.

    Args:
        state: Gets a line for each seed as it ends; None: nothing is remembered.
        logs: Gets the logs of seeds that do not hold.

    Raises:
        SeedsInvalid: The file is of a series with other settings.
        ChaosFailed: A run could not be carried through.
    """
    done = {} if state is None else {one.seed: one for one in read_state(state)}
    for one in done.values():
        if one.settings != settings:
            raise SeedsInvalid(
                f"{state} is of runs of {one.settings.seconds:g} s with "
                f"{one.settings.records_per_second} records a second on the {one.settings.broker} "
                "broker; go on with the same, or name another file"
            )
    for seed in seeds:
        if seed in done:
            yield done[seed]
            continue
        result = run_seed(seed, settings, say, logs=logs)
        if state is not None:
            _append(state, result)
        yield result


def _append(path: Path, result: RunResult) -> None:
    line = msgspec.json.encode(result) + b"\n"
    with path.open("ab") as file:
        if file.tell() and not path.read_bytes().endswith(b"\n"):
            file.truncate(path.read_bytes().rfind(b"\n") + 1)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
