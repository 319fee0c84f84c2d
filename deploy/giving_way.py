"""How a process leaves the processors of its machine to more urgent ones."""

import contextlib
import os
from pathlib import Path
from time import sleep

#: Linux shares the processors out among sessions first, where it is told to (`autogroup`), and only
#: then by the niceness of the processes in one.
_SESSION = Path("/proc/self/autogroup")
# Without privileges one session of the whole machine can be told in a tenth of a second.
_TRIES, _TRY_SECONDS = 5, 0.11


def give_way(niceness: int) -> None:
    """Have everything else on this machine that wants a processor get one first.

    Call it before there are other threads: those that there are keep their priority. Where nobody
    else wants the processor it costs nothing. In a container with processors of its own it changes
    nothing either.

    Args:
        niceness: 0 (not at all) to 19. Of a processor that another process wants all of, 10
            leaves a tenth to who gives way, and 15 a thirtieth.
    """
    if not niceness:
        return
    with contextlib.suppress(PermissionError):  # a sandbox may forbid even this
        os.nice(niceness)
    # A session of our own, as whoever starts a service gives it. Another's holds more than us.
    if os.getsid(0) == os.getpid():
        _give_way_as_session(niceness)


def _give_way_as_session(niceness: int) -> None:
    for _ in range(_TRIES):
        try:
            _SESSION.write_text(f"{niceness}\n", encoding="ascii")
        except BlockingIOError:
            sleep(_TRY_SECONDS)
        except OSError:
            # Not Linux, or sessions are not what it goes by: the process's own niceness counts.
            return
        else:
            return
