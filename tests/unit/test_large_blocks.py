"""Where a large block lies once a larger one has been freed, in a process of its own."""

import ctypes
import os
import subprocess
import sys

import pytest

from deploy.large_blocks import give_back_large_blocks

PROGRAM = """
import sys
from deploy.large_blocks import give_back_large_blocks
if sys.platform != "linux":
    assert not give_back_large_blocks()
    sys.exit(print("cannot be told"))
if sys.argv[1] == "told":
    assert give_back_large_blocks()
larger = bytes(20 << 20)
del larger
small = bytearray(300 << 10)
(heap,) = [line.split()[0] for line in open("/proc/self/maps") if line.rstrip().endswith("[heap]")]
begin, end = (int(one, 16) for one in heap.split("-"))
import ctypes
at = ctypes.addressof((ctypes.c_char * len(small)).from_buffer(small))
print("heap" if begin <= at < end else "apart")
"""


@pytest.mark.parametrize(("told", "place"), [("told", "apart"), ("not", "heap")])
def test_a_large_block_lies_apart_also_after_a_larger_one_was_freed(told, place):
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, told],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},  # without what would tell glibc the same
    )
    assert found.stdout.strip() == (place if sys.platform == "linux" else "cannot be told")


def test_a_c_library_without_the_call_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not give_back_large_blocks()
