"""Bodies: numbers stay as written, and what could unfold or run is refused."""

import pytest

from api.errors import ApiError
from api.operations import parse_json
from api.reconciliations import check_definition, parse_yaml


def test_numbers_with_a_fraction_stay_as_they_were_written():
    assert parse_json(b'{"a": 0.10, "b": 1e3, "c": 7}') == {"a": "0.10", "b": "1e3", "c": 7}
    assert parse_yaml(b"a: 0.10\nb: 7\nc: 2026-01-19\nd: true") == {
        "a": "0.10", "b": 7, "c": "2026-01-19", "d": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "body", [b'{"a": 1, "a": 2}', b'{"b": [{"a": 1, "c": 2, "a": 1}]}', b"[" * 34 + b"]" * 34,
             b'{"a":' * 33 + b"1" + b"}" * 33, b"[" * 9_000 + b"]" * 9_000, b"1" * 5_000],
)  # fmt: skip
def test_json_that_is_ambiguous_or_too_deep_is_refused(body):
    with pytest.raises(ApiError) as caught:
        parse_json(body)
    assert caught.value.code == "invalid_json"
    assert parse_json(b"[" * 32 + b"]" * 32)
    assert parse_json(b'[{"a": 1}, {"a": 2}]')


@pytest.mark.parametrize("body", [b"a: 1\nb: 2\na: 3", b"a: {b: 1, b: 1}", b"[" * 40 + b"]" * 40])
def test_yaml_that_is_ambiguous_or_too_deep_is_refused(body):
    with pytest.raises(ApiError) as caught:
        parse_yaml(body)
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize(
    "body",
    [b"a: &a [1]\nb: [*a, *a]", b"!!python/object/apply:os.system ['true']", b"a: b: c", b"\t"],
)
def test_yaml_that_unfolds_or_runs_is_refused(body):
    with pytest.raises(ApiError) as caught:
        parse_yaml(body)
    assert caught.value.code == "invalid_json"


def test_a_definition_of_another_tenant_is_refused_before_it_is_read():
    with pytest.raises(ApiError) as caught:
        check_definition({"tenant_id": "other"}, "acme")
    assert [(each.path, caught.value.code) for each in caught.value.details] == [
        ("tenant_id", "definition_invalid")
    ]
