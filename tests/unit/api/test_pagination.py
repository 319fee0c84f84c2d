"""Cursors and pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ApiError
from api.pagination import cut_page, decode_cursor, encode_cursor

PARTS = st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_characters="\x00"))


@given(st.lists(PARTS, max_size=5))
def test_a_cursor_comes_back_as_it_went(key):
    assert decode_cursor(encode_cursor(key), [type(part) for part in key]) == key


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_or_is_refused(text):
    refused = None
    try:
        decoded = decode_cursor(text, [int])
    except ApiError as error:
        refused = error.code
    assert refused == "invalid_cursor" or isinstance(decoded[0], int)


@given(st.integers(0, 30), st.integers(1, 10))
def test_pages_cut_from_any_list_add_up_to_it(count, limit):
    rows, read, cursor = [{"n": number} for number in range(count)], [], -1
    while cursor is not None:
        ahead = [row for row in rows if row["n"] > cursor][: limit + 1]
        page, encoded = cut_page(ahead, limit, lambda row: [row["n"]])
        read += page
        cursor = decode_cursor(encoded, [int])[0] if encoded else None
    assert read == rows


@pytest.mark.parametrize(("key", "shape"), [([1], [str]), (["a"], [int]), ([True], [int])])
def test_a_cursor_of_another_list_is_refused(key, shape):
    with pytest.raises(ApiError, match="cursor"):
        decode_cursor(encode_cursor(key), shape)
