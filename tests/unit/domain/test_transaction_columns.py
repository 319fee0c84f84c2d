"""Transactions field by field are the same transactions."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.record_json import read_json_fields
from domain.transaction_columns import TransactionColumns
from domain.transaction_reading import decode_transaction, read_transactions
from domain.transactions import (
    SOURCE,
    Rejection,
    Transaction,
    build_transaction,
    field_value,
)

NOW_US = 1_767_616_380_000_000  # 2026-01-05T12:33:00Z
OPTIONAL_TEXT = st.none() | st.sampled_from(
    ["ORD-1", " ORD-2 ", "O R D", "", "x\ty", "\N{SOFT HYPHEN}a"]
)
RECORDS = st.builds(
    lambda number, reference, amount, currency, occurred_at, more: msgspec.json.encode(
        {
            "tenant_id": "acme",
            "reconciliation_id": "shop" if number % 3 else "till",
            "transaction_id": f"s-{number}",
            "amount": amount,
            "currency": currency,
            "occurred_at": occurred_at,
            **({} if reference is None else {"reference": reference}),
            **more,
        }
    ),
    st.integers(0, 50),
    OPTIONAL_TEXT,
    st.sampled_from(["12.50", "7", "-3.00", "1e3", 5]),
    st.sampled_from(["EUR", "USD", "JPY"]),
    st.sampled_from(
        [
            "2026-01-05T12:00:00Z",
            "2026-01-05T11:59:30.5Z",
            "2026-01-04T12:00:00.123456Z",
            "2026-01-05",
            "2026-01-05T12:00:00.123456+02:00",
            "2026-01-06T12:33:00.001Z",
            "2026-01-06",
            "2026-01-07",
            " 2026-01-05",
            " 2026-01-05T11:00:00Z ",
            "x",
        ]
    ),
    st.sampled_from(
        [{}, {"attributes": {"till": "7"}}, {"fee": "0.50"}, {"description": " d "}, {"odd": 1}]
    ),
)

#: As one clock writes them; so many are read together.
USUAL = st.integers(0, 999_999).map(
    lambda number: msgspec.json.encode(
        {
            "tenant_id": "acme",
            "reconciliation_id": "shop",
            "transaction_id": f"u-{number}",
            "amount": "12.50",
            "currency": "EUR",
            "occurred_at": f"2026-01-05T12:{number % 60:02}:{number % 7:02}.{number % 1000:03}Z",
        }
    )
)


@given(
    st.tuples(
        st.lists(RECORDS, min_size=1, max_size=30),
        st.just([]) | st.lists(USUAL, min_size=80, max_size=90),
    ).flatmap(lambda both: st.permutations([*both[0], *both[1]]))
)
def test_reading_many_is_reading_each(raws):
    scopes = read_transactions(raws, range(len(raws)), SOURCE, NOW_US)

    read = {one.offset: one for scope in scopes for one in (*scope.transactions, *scope.rejections)}
    for offset, raw in enumerate(raws):
        exactly = build_transaction(read_json_fields(raw), SOURCE, NOW_US, raw, offset)
        assert read[offset] == decode_transaction(raw, SOURCE, NOW_US, offset) == exactly
    for scope in scopes:
        offsets = [one.offset for one in scope.transactions]
        assert offsets == sorted(offsets)
        assert [raws[offset] for offset in offsets] == scope.raws
        assert [one.offset for one in scope.rejections] == sorted(
            one.offset for one in scope.rejections
        )
        of_all = [one.offset for one in (*scope.transactions, *scope.rejections)]
        assert scope.span == (min(of_all), max(of_all) + 1)


@pytest.mark.parametrize(
    "occurred_at",
    ["2026-01-05T12:00:60.000Z", "2026-13-05T12:00:00.000Z", "2016-12-31T23:59:60.000Z", ""],
)
def test_one_time_that_is_none_costs_its_own_record_only(occurred_at):
    raws = [
        b'{"tenant_id":"acme","reconciliation_id":"shop","transaction_id":"s-%d","amount":"1.00",'
        b'"currency":"EUR","occurred_at":"%s"}'
        % (number, (occurred_at if number == 700 else "2026-01-05T12:00:00.000Z").encode())
        for number in range(1000)
    ]
    (scope,) = read_transactions(raws, range(1000), SOURCE, NOW_US)

    exactly = build_transaction(read_json_fields(raws[700]), SOURCE, NOW_US, raws[700], 700)
    rejected = isinstance(exactly, Rejection)
    assert scope.rejections == ([exactly] if rejected else [])
    assert [one.offset for one in scope.transactions] == [
        number for number in range(1000) if number != 700 or not rejected
    ]
    assert rejected or scope.transactions[700] == exactly


@pytest.fixture
def transactions():
    raws = [
        b'{"tenant_id":"acme","reconciliation_id":"shop","transaction_id":"s-%d","amount":"%d.00",'
        b'"currency":"EUR","occurred_at":"2026-01-05T12:00:00Z","reference":"R-%d",'
        b'"attributes":{"till":"%d"}}' % (number, number, number, number)
        for number in range(5)
    ]
    read = [decode_transaction(raw, SOURCE, NOW_US, place) for place, raw in enumerate(raws)]
    assert not any(isinstance(one, Rejection) for one in read)
    return read


def test_taken_apart_and_put_together_they_are_the_same(transactions):
    columns = TransactionColumns.of(transactions)

    assert list(columns) == transactions
    assert [columns[place] for place in range(len(columns))] == transactions
    assert columns[-1] == transactions[-1]
    assert list(columns[1:3]) == transactions[1:3]
    assert all(isinstance(one, Transaction) for one in columns)


@pytest.mark.parametrize(
    "name",
    [
        "reference",
        "counterparty",
        "description",
        "transaction_id",
        "attributes.till",
        "attributes.x",
    ],
)
def test_a_field_is_the_field_of_each(transactions, name):
    assert TransactionColumns.of(transactions).field(name) == [
        field_value(one, name) for one in transactions
    ]


def test_a_field_that_is_none_is_an_error(transactions):
    with pytest.raises(KeyError, match="amount_minor"):
        TransactionColumns.of(transactions).field("amount_minor")
