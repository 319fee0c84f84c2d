"""What has a process of the tests measured, too, under `make coverage`."""

import os


def measuring() -> dict[str, str]:
    """Variables for a process that is not given all of ours; none when nothing is measured."""
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}


#: How many times longer than usual something may take: what is measured is half as fast or slower.
PATIENCE = 3 if measuring() else 1
