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
