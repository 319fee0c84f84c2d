"""`settler run` with one guard taken out: `python -m tests.chaos.mutant GUARD ROLE`."""

import sys

import pytest

from tests.chaos import guards

if __name__ == "__main__":
    from deploy.cli.main import main

    guard, *arguments = sys.argv[1:]
    getattr(guards, guard)(pytest.MonkeyPatch())
    sys.argv = ["settler", "run", *arguments]
    main()
