"""What keeps the start and the end of a command short: a third of both went into nothing."""

import atexit
import gc
import os
import sys

_USUAL = gc.get_threshold()
_WHILE_LOADING = (20_000, *_USUAL[1:])


def start_lightly() -> None:
    """Have this process load its modules and end at two thirds of what that costs.

    Call it before anything heavy is imported. A process that goes on for long calls
    `collect_as_usual` once all is loaded.
    """
    # Of what modules are made nothing is garbage, and to look for some takes a tenth of a start.
    gc.set_threshold(*_WHILE_LOADING)
    # At the end the interpreter would look through all of it once more: a seventh of a start.
    atexit.register(gc.freeze)
    # numpy's OpenBLAS starts a thread for each core, 60 ms, for products of matrices: we have none.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def collect_as_usual() -> None:
    """Look for garbage as often as Python does unless told."""
    gc.set_threshold(*_USUAL)


def load_structlog() -> None:
    """Import structlog without rich, which it takes for tracebacks that are not shown: 50 ms."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
