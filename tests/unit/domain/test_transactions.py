"""Transaction records: what is accepted, in which one form, and why the rest is refused."""

from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import shared_values, transaction_reading
from domain.instants import DAY_US
from domain.transaction_reading import decode_transaction
from domain.transactions import (
    SOURCE,
    TARGET,
    Rejection,
    Transaction,
    build_transaction,
    field_value,
    unpack_transaction,
)

NOW_US = 1_767_616_380_000_000  # 2026-01-05T12:33:00Z
RECORD = {
    "tenant_id": "acme",
    "reconciliation_id": "shop",
    "transaction_id": "s-1",
    "amount": "12.50",
    "currency": "EUR",
    "occurred_at": "2026-01-05T12:00:00Z",
}


def encode(record):
    return msgspec.json.encode(record)


def decode(raw, side=SOURCE):
    return decode_transaction(raw, side, NOW_US)


def accepted(**fields):
    result = decode(encode(RECORD | fields))
    assert isinstance(result, Transaction), result
    return result


def rejected(**fields):
    result = decode(encode(RECORD | fields))
    assert isinstance(result, Rejection), result
    return result


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
PADDING = st.sampled_from(["", " ", "\t ", "\N{NO-BREAK SPACE}"])
NAMES = st.text("abcxyz_", min_size=1, max_size=8).filter(
    lambda name: name not in {"fee", "reference"}
)


@st.composite
def records(draw):
    """A valid record and its content: minor units, time, texts and attributes as they must be."""
    currency, digits = draw(st.sampled_from([("EUR", 2), ("JPY", 0), ("KWD", 3)]))
    minor = draw(st.integers(-(10**18) + 1, 10**18 - 1))
    places = draw(st.integers(0, digits))
    minor -= minor % 10 ** (digits - places) if minor >= 0 else 0
    if minor < 0:
        minor = -(-minor - -minor % 10 ** (digits - places))
    amount = str(Decimal(minor).scaleb(-digits, None).quantize(Decimal(1).scaleb(-places)))
    record = RECORD | {
        "transaction_id": draw(st.text("abcXYZ-äß /", min_size=1, max_size=12).map(str.strip))
        or "t",
        "amount": amount,
        "currency": currency,
    }
    for name in ("reference", "counterparty", "description"):
        if draw(st.booleans()):
            record[name] = draw(TEXT)
    if draw(st.booleans()):
        record["attributes"] = draw(st.dictionaries(NAMES, TEXT, max_size=4))
    if draw(st.booleans()):
        record["fee"] = "0" if currency == "JPY" else "-0.5"
    return record, minor


# Sums of 18 digits must survive the Decimal arithmetic of the strategy above.
@pytest.fixture(autouse=True, scope="module")
def _decimal_precision():
    from decimal import getcontext

    before = getcontext().prec
    getcontext().prec = 60
    yield
    getcontext().prec = before


@given(records(), st.sampled_from([SOURCE, TARGET]))
def test_packing_loses_nothing(record_and_minor, side):
    record, minor = record_and_minor
    transaction = decode(encode(record), side)
    assert isinstance(transaction, Transaction), transaction
    assert transaction.amount_minor == minor
    assert transaction.transaction_id == record["transaction_id"]
    assert transaction.side == side
    assert transaction.reference == (record.get("reference", "").strip() or None)
    assert unpack_transaction(transaction.packed, "acme", "shop") == transaction


@given(records(), PADDING, PADDING, st.randoms(use_true_random=False))
def test_equal_content_is_equal_bytes(record_and_minor, before, after, random):
    record, _ = record_and_minor
    other = dict(record)
    for name in ("transaction_id", "reference", "counterparty", "description"):
        if name in other:
            other[name] = before + other[name] + after
    for name in ("reference", "counterparty", "description", "attributes"):
        other.setdefault(name, None)
    if record.get("attributes"):
        # Attributes in another order, one of them as a field of its own.
        moved, *rest = random.sample(sorted(record["attributes"]), len(record["attributes"]))
        other[moved] = record["attributes"][moved]
        other["attributes"] = {name: before + record["attributes"][name] for name in rest}
    names = random.sample(sorted(other), len(other))
    one = decode(encode(record))
    same = decode(encode({name: other[name] for name in names}))
    assert isinstance(one, Transaction)
    assert one == same


@given(records())
def test_a_file_s_fields_make_the_same_transaction(record_and_minor):
    record, _ = record_and_minor
    assert build_transaction(record, SOURCE, NOW_US) == decode(encode(record))


@given(
    records(),
    st.sampled_from(["amount", "currency", "transaction_id", "occurred_at"]),
    st.sampled_from(["1.25", "CHF", "x-2", "2026-01-05", "2026-01-04T00:00:00Z", "7"]),
)
def test_other_content_is_other_bytes(record_and_minor, name, value):
    record, _ = record_and_minor
    one, other = decode(encode(record)), decode(encode(record | {name: value}))
    if isinstance(other, Transaction):
        same = all(
            getattr(one, field) == getattr(other, field)
            for field in ("amount_minor", "currency", "transaction_id", "occurred_at", "is_date")
        )
        assert (one.packed == other.packed) == same


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_a_rejection(raw):
    result = decode(raw)
    assert isinstance(result, Rejection)
    assert result.raw == raw


@given(
    st.dictionaries(
        st.sampled_from([*RECORD, "fee", "attributes", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
            max_leaves=4,
        ),
    )
)
def test_any_values_give_a_transaction_or_a_sentence(fields):
    result = decode(encode(RECORD | fields))
    if isinstance(result, Rejection):
        assert result.code
        assert result.message
    else:
        assert unpack_transaction(result.packed, "acme", "shop") == result


@pytest.mark.parametrize(
    ("number", "minor"),
    [
        ("12.50", 1250),
        ("12.5", 1250),
        ("12", 1200),
        ("-0.10", -10),
        ("0.29", 29),
        ("9999999999999999.99", 10**18 - 1),
    ],
)
def test_a_json_number_is_taken_as_written(number, minor):
    raw = encode(RECORD).replace(b'"12.50"', number.encode())
    for _ in range(3):  # The reading adapts to the form a side writes; the result does not.
        assert decode(raw).amount_minor == minor
        assert decode(encode(RECORD)).amount_minor == 1250


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("1e2", "invalid_amount"),
        ("1.5E-1", "invalid_amount"),
        ("12.500", "amount_precision"),
        ("10000000000000000.00", "invalid_amount"),
        ("1" * 5000, "invalid_amount"),
        ("true", "invalid_amount"),
        ("[1]", "invalid_amount"),
        ('{"x": 1}', "invalid_amount"),
        ('"\\u0031"', None),
        ('"1e2"', "invalid_amount"),
        ('"NaN"', "invalid_amount"),
        ('"+1"', "invalid_amount"),
        ('"1_000"', "invalid_amount"),
        ('" 12.50"', "invalid_amount"),
        ('"１２"', "invalid_amount"),
        ('"１２.50"', "invalid_amount"),
        ('"12.50 EUR"', "invalid_amount"),
        ('"1.2.50"', "invalid_amount"),
        ('"-"', "invalid_amount"),
        ('"12.345"', "amount_precision"),
        ('""', "missing_field"),
        ("null", "missing_field"),
        ("NaN", "invalid_json"),
        ("01", "invalid_json"),
    ],
)
@pytest.mark.parametrize("numbers_before", [False, True])
def test_amounts_as_json(number, code, numbers_before):
    decode(encode(RECORD).replace(b'"12.50"', b"1") if numbers_before else encode(RECORD))
    result = decode(encode(RECORD).replace(b'"12.50"', number.encode()))
    assert getattr(result, "code", None) == code, result


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({"tenant_id": None}, "missing_field", "tenant_id"),
        ({"tenant_id": "Acme"}, "invalid_field", "a-z"),
        ({"tenant_id": "acme\n"}, "invalid_field", "tenant_id"),
        ({"tenant_id": "a" * 65}, "invalid_field", "tenant_id"),
        ({"reconciliation_id": "shop/eu"}, "invalid_field", "reconciliation_id"),
        ({"transaction_id": "  "}, "missing_field", "transaction_id"),
        ({"transaction_id": 7}, "invalid_field", "a number"),
        ({"transaction_id": "x" * 129}, "invalid_field", "129"),
        ({"transaction_id": "a\u0007b"}, "invalid_field", "control"),
        ({"transaction_id": "a\u007fb"}, "invalid_field", "control"),
        ({"transaction_id": "a\0b"}, "invalid_field", "transaction_id"),
        ({"amount": "12.345"}, "amount_precision", "3 fraction digits"),
        ({"amount": "1.0", "currency": "JPY"}, "amount_precision", "JPY"),
        ({"amount": "1.0000", "currency": "KWD"}, "amount_precision", "KWD"),
        ({"currency": "eur"}, "unknown_currency", "EUR"),
        ({"currency": "XXX"}, "unknown_currency", "XXX"),
        ({"currency": "Euro"}, "unknown_currency", "Euro"),
        ({"currency": ""}, "missing_field", "currency"),
        ({"occurred_at": "2026-01-05T12:00:00"}, "invalid_timestamp", "offset"),
        ({"occurred_at": "yesterday"}, "invalid_timestamp", "RFC 3339"),
        ({"occurred_at": 1767616380}, "invalid_timestamp", "a number"),
        ({"occurred_at": "2026-01-06T12:33:00.000001Z"}, "invalid_timestamp", "ahead"),
        ({"occurred_at": "2026-01-08"}, "invalid_timestamp", "ahead"),
        ({"reference": "x" * 513}, "invalid_field", "513"),
        ({"counterparty": "a\0b"}, "invalid_field", "counterparty"),
        ({"description": ["x"]}, "invalid_field", "an array"),
        ({"description": "x" * 513}, "invalid_field", "description"),
        ({"reference": "a\0b"}, "invalid_field", "reference"),
        ({"fee": "0.001"}, "amount_precision", "fee"),
        ({"base_amount": "1.00"}, "missing_field", "base_currency"),
        ({"base_currency": "USD"}, "missing_field", "base_amount"),
        ({"base_amount": "1.5", "base_currency": "JPY"}, "amount_precision", "base_amount"),
        ({"fx_rate": "1.1"}, "missing_field", "fx_to"),
        ({"fx_rate": "0", "fx_to": "USD"}, "invalid_amount", "above zero"),
        ({"fx_rate": "1.1", "fx_to": "usd"}, "unknown_currency", "fx_to"),
        ({"supersedes": "s\n0"}, "invalid_field", "supersedes"),
        ({"channel": 5}, "unknown_field", "channel"),
        ({"channel": {"a": "b"}}, "unknown_field", "an object"),
        ({"channel": True}, "unknown_field", "a boolean"),
        ({"channel": "a\0b"}, "invalid_field", "channel holds a character that cannot be stored"),
        ({"attributes": "x"}, "invalid_field", "attributes"),
        ({"attributes": {"a": 1}}, "invalid_field", "attributes.a"),
        ({"attributes": {" ": "x"}}, "invalid_field", "name"),
        ({"attributes": {"a": "x\0"}}, "invalid_field", "stored"),
        ({"attributes": {"a": "x"}, "a": "y"}, "invalid_field", "both"),
        ({"attributes": {f"a{i}": "x" for i in range(65)}}, "invalid_field", "65"),
        ({"attributes": {f"a{i}": "x" for i in range(64)}, "b": "x"}, "invalid_field", "65"),
    ],
)
def test_each_kind_of_wrong_record_has_its_code(fields, code, says):
    result = rejected(**fields)
    assert result.code == code
    assert says in result.message
    if "transaction_id" not in fields:
        assert result.transaction_id == "s-1"
    assert result.tenant_id == (None if "tenant_id" in fields else "acme")
    assert result.reconciliation_id == (None if "reconciliation_id" in fields else "shop")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[1]",
        b'"x"',
        b"\xef\xbb\xbf" + encode(RECORD),
        encode(RECORD) + b"}",
        encode(RECORD).replace(b"s-1", b"s-\xff"),
        encode(RECORD).replace(b"s-1", b"s-\\ud800"),
        encode(RECORD)[:-1] + b',"x":[{"y":"\xff"}]}',
        encode(RECORD)[:-1] + b',"attributes":{"a":"\xc3"}}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
    ],
)
def test_what_is_no_json_object_is_invalid_json(raw):
    result = decode(raw)
    assert (result.code, result.tenant_id, result.raw) == ("invalid_json", None, raw)


def test_a_record_over_64_kib_is_too_large_and_still_says_whose_it_is():
    room = 64 * 1024 - len(encode(RECORD | {"note": ""}))
    assert accepted(note="x" * room).attributes == {"note": "x" * room}
    result = rejected(note="x" * (room + 1))
    assert (result.code, result.tenant_id, result.transaction_id) == ("too_large", "acme", "s-1")


def test_all_missing_fields_are_named_at_once():
    result = decode(b'{"tenant_id":"acme"}')
    assert result.code == "missing_field"
    for name in ("reconciliation_id", "transaction_id", "amount", "currency", "occurred_at"):
        assert name in result.message


def test_optional_fields_that_are_null_or_blank_are_absent():
    blank = accepted(
        reference=" ", counterparty="", description=None, attributes={"a": " ", "b": None},
        fee=None, supersedes="", base_amount="", base_currency=None, channel=None,
    )  # fmt: skip
    assert blank == accepted()
    assert blank.attributes is None
    assert blank.extra is None


def test_what_few_records_carry_is_kept_canonically():
    full = accepted(
        fee="-0.1", base_amount="15.5", base_currency="KWD", fx_rate="1.0840", fx_to="USD"
    )
    assert full.extra == (-10, 15_500, "KWD", "1.084", "USD", None)
    assert unpack_transaction(full.packed, "acme", "shop") == full


@pytest.mark.parametrize(
    ("fee", "minor"), [('"0.25"', 25), ("0.25", 25), ('"-1"', -100), ('"\\u0031"', 100)]
)
def test_a_fee_alone_is_read_like_an_amount(fee, minor):
    raw = encode(RECORD)[:-1] + f',"fee":{fee}}}'.encode()
    transaction = decode(raw)
    assert transaction.extra == (minor, None, None, None, None, None)
    assert unpack_transaction(transaction.packed, "acme", "shop") == transaction


@pytest.mark.parametrize("fee", ['"1e1"', "1e1", '"\\"1"', "[1]", "true", '{"a":1}'])
def test_a_fee_that_is_none_is_refused(fee):
    result = decode(encode(RECORD)[:-1] + f',"fee":{fee}}}'.encode())
    assert result.code == "invalid_amount"
    assert "fee" in result.message


def test_unknown_text_fields_are_attributes_sorted_by_name():
    both = accepted(zone="eu", attributes={"channel": " web "}, agent="x")
    assert list(both.attributes.items()) == [("agent", "x"), ("channel", "web"), ("zone", "eu")]


def test_a_key_that_stands_twice_counts_as_written_last():
    raw = encode(RECORD)[:-1] + b',"amount":"1.00"}'
    assert decode(raw).amount_minor == 100
    raw = encode(RECORD)[:-1] + b',"amount":7,"amount":"1.00"}'
    assert decode(raw).amount_minor == 100


def test_a_bare_date_is_marked_and_differs_from_its_midnight():
    day = accepted(occurred_at="2026-01-05")
    midnight = accepted(occurred_at="2026-01-05T00:00:00Z")
    assert (day.occurred_at, day.is_date) == (midnight.occurred_at, True)
    assert day.packed != midnight.packed
    assert unpack_transaction(day.packed, "acme", "shop").is_date


def test_ahead_of_the_clock_is_judged_by_the_clock_given():
    raw = encode(RECORD | {"occurred_at": "2026-01-06T12:33:00Z"})
    assert isinstance(decode_transaction(raw, SOURCE, NOW_US), Transaction)
    assert isinstance(decode_transaction(raw, SOURCE, NOW_US - 1), Rejection)
    assert isinstance(
        build_transaction(RECORD | {"occurred_at": "2099-01-01"}, SOURCE, None), Transaction
    )


def test_side_and_offset_are_carried_along_and_the_side_is_content():
    raw = encode(RECORD)
    source, target = decode_transaction(raw, SOURCE, NOW_US, 7), decode(raw, TARGET)
    assert (source.side, source.offset, target.side, target.offset) == (0, 7, 1, -1)
    assert source.packed != target.packed
    assert decode_transaction(b"x", TARGET, NOW_US, 9).offset == 9


def test_repeated_values_are_shared():
    raw = encode(RECORD | {"counterparty": "ACME GmbH", "attributes": {"channel": "web"}})
    one, other = decode(raw), decode(raw)
    for name in ("currency", "counterparty", "attributes"):
        assert getattr(one, name) is getattr(other, name)
    again = [unpack_transaction(one.packed, one.tenant_id, one.reconciliation_id) for _ in "ab"]
    for name in ("currency", "counterparty", "attributes"):
        assert getattr(again[0], name) is getattr(again[1], name)


def test_each_side_s_form_of_amounts_is_remembered():
    number, text = encode(RECORD | {"amount": 12}), encode(RECORD)
    decode(text, SOURCE), decode(number, TARGET)
    before = list(transaction_reading._wire_decoders)
    assert before[SOURCE] is not before[TARGET]
    decode(number, SOURCE), decode(text, TARGET)
    assert transaction_reading._wire_decoders == before[::-1]


def test_the_tables_of_shared_values_stay_bounded(monkeypatch):
    monkeypatch.setattr(shared_values, "_ENTRIES_MAX", 3)
    tables = ("SCOPE_IDS", "COUNTERPARTIES", "ATTRIBUTES", "_ATTRIBUTES_UNPACKED")
    bounded = [getattr(shared_values, name) for name in tables]
    bounded.append(shared_values.AMOUNTS["EUR"])
    for table in bounded:
        table.clear()
    for number in range(10):
        fields = {"tenant_id": f"t{number}", "counterparty": f"c{number}",
                  "attributes": {"a": str(number)}, "amount": f"{number}.50"}  # fmt: skip
        for _ in range(2):
            result = accepted(**fields)
        assert (result.tenant_id, result.counterparty) == (f"t{number}", f"c{number}")
        assert result.attributes == {"a": str(number)}
        assert result.amount_minor == number * 100 + 50
        assert unpack_transaction(result.packed, f"t{number}", "shop") == result
    for table in bounded:
        assert 0 < len(table) <= 3


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("amount", Decimal("12.50"), "amount_minor", 1250),
        ("amount", Decimal("1E+2"), "amount_minor", 10_000),
        ("amount", 12, "amount_minor", 1200),
        ("transaction_id", 42, "transaction_id", "42"),
        ("occurred_at", date(2026, 1, 5), "is_date", True),
        ("occurred_at", datetime(1970, 1, 2, tzinfo=UTC), "occurred_at", DAY_US),
    ],
)
def test_files_may_give_typed_values(name, value, attribute, expected):
    result = build_transaction(RECORD | {name: value}, SOURCE, NOW_US)
    assert getattr(result, attribute) == expected


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("amount", 12.5, "invalid_amount"),
        ("amount", True, "invalid_amount"),
        ("amount", Decimal("NaN"), "invalid_amount"),
        ("occurred_at", datetime(2026, 1, 5), "invalid_timestamp"),  # noqa: DTZ001
        ("reference", 1.5, "invalid_field"),
        ("reference", "\udcff", "invalid_field"),
        ("tenant_id", 7, "invalid_field"),
    ],
)
def test_files_are_held_to_the_same_exactness(name, value, code):
    result = build_transaction(RECORD | {name: value}, SOURCE, NOW_US, b"row 1")
    assert (result.code, result.raw) == (code, b"row 1")


def test_field_values_by_the_names_rules_use():
    transaction = accepted(
        reference=" r ", counterparty="c", description="d", attributes={"order_id": "o"}
    )
    names = ("transaction_id", "reference", "counterparty", "description", "attributes.order_id")
    assert [field_value(transaction, name) for name in names] == ["s-1", "r", "c", "d", "o"]
    assert field_value(transaction, "attributes.none") is None
    assert field_value(accepted(), "attributes.order_id") is None
    assert field_value(accepted(), "reference") is None
    with pytest.raises(KeyError):
        field_value(transaction, "amount")


def test_packed_content_of_another_format_is_named():
    packed = msgspec.msgpack.encode([9, 0, "x", 1, "EUR", 0, None, None, None, None, None])
    with pytest.raises(ValueError, match="format 9"):
        unpack_transaction(packed, "acme", "shop")


def test_the_storage_format_stays_as_it_is():
    # Journals hold these bytes for years: a change here needs a new format number.
    packed = accepted(reference="r", attributes={"a": "b"}, fee="0.10").packed
    assert msgspec.msgpack.decode(packed) == [
        1, 0, "s-1", 1250, "EUR", 1_767_614_400_000_000, "r", None, None, {"a": "b"},
        [10, None, None, None, None, None],
    ]  # fmt: skip
