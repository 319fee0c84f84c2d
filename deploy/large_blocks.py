"""What a long-lived process asks of its C library's allocator."""

import ctypes

# Of glibc's malloc.h.
_M_MMAP_THRESHOLD = -3
#: Where glibc's own threshold begins, bytes.
_LARGE_BYTES = 128 << 10


def give_back_large_blocks() -> bool:
    """Have blocks of 128 KiB and more returned to the system as soon as they are freed.

    glibc does so until the first is freed; from then on it keeps blocks up to that size in its
    heap, which small blocks that live long hold open. A flow's heap grew by a tenth in minutes. The
    size from which the heap's own end is given back stays where it begins, too.

    Returns:
        False where the C library cannot be told; its own ways are as good as any then.
    """
    try:
        tell = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(tell(_M_MMAP_THRESHOLD, _LARGE_BYTES))
