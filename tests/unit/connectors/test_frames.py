"""Journals and snapshots as stored: they come back, also those that releases before wrote."""

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres.errors import SnapshotDamaged
from connectors.postgres.journal import decode_journal, encode_journal
from connectors.postgres.snapshots import from_column, to_column


@given(st.lists(st.binary(max_size=300), max_size=50))
def test_what_was_written_comes_back(packed):
    assert decode_journal(encode_journal(packed)) == packed


@given(st.lists(st.binary(max_size=300), max_size=50))
def test_the_format_before_is_read(packed):
    journal = b"\x01" + zlib.compress(msgspec.msgpack.encode(packed), 1)

    assert decode_journal(journal) == packed


def test_a_later_format_is_refused_by_number():
    with pytest.raises(ValueError, match="journal has format 9, this release reads 1 and 2"):
        decode_journal(b"\x09abc")


def test_a_damaged_journal_does_not_come_back_as_another():
    packed = [b"abcdefgh" * 20, bytes(range(64))]
    journal = encode_journal(packed)

    with pytest.raises(OSError, match="decompression failed"):
        decode_journal(journal[:-4])
    for place in range(len(journal)):
        for bit in range(8):
            damaged = bytearray(journal)
            damaged[place] ^= 1 << bit
            # Some bits of a frame's header mean nothing: what it holds is the same then.
            try:
                found = decode_journal(bytes(damaged))
            except (ValueError, OSError, MemoryError, zlib.error):
                continue
            assert found == packed, (place, bit)


def test_a_bit_that_only_the_checksum_knows_of():
    journal = bytearray(encode_journal([bytes(range(64))]))
    journal[-8] ^= 1

    with pytest.raises(ValueError, match="checksum is another"):
        decode_journal(bytes(journal))


def test_a_snapshot_is_stored_compressed_and_what_the_release_before_stored_is_read():
    state = b"one and the same " * 1_000
    assert len(to_column(5, state)) < len(state) / 10
    assert from_column("acme/shop", 7, 5, to_column(5, state)) == state
    assert from_column("acme/shop", 7, 4, state) == state


@pytest.mark.parametrize(
    "damage", [lambda one: one[:100], lambda one: one[:-1] + b"?", lambda _: b""]
)
def test_a_damaged_snapshot_says_which_it_is_and_what_to_do(damage):
    stored = to_column(5, bytes(range(256)) * 4)
    with pytest.raises(SnapshotDamaged, match=r"acme/shop at version 7 is damaged .* folded from"):
        from_column("acme/shop", 7, 5, damage(stored))
