"""Linting through the API: findings, limits, refusals, and that nothing is stored."""

import yaml

from api.linting import CONDITIONS_MAX, RULES_MAX
from tests.integration.api.rows import DEFINITION

PATH = "/api/v1/definitions/lint"
NAMES = {
    "name": "names",
    "match_type": "one_to_one",
    "conditions": [{"field": "counterparty", "operator": "casefold"}],
    "amount": {"tolerance": {"absolute": "5.00"}},
}


def codes(answer):
    assert answer.status_code == 200, answer.text
    return [one["code"] for one in answer.json()["findings"]]


def test_findings_say_where_how_bad_and_what_to_do(client):
    document = DEFINITION | {"rules": [*DEFINITION["rules"], NAMES]}
    answer = client.post(PATH, json=document)
    assert codes(answer) == ["recurring_without_date", "tolerance_not_judged"]
    finding = answer.json()["findings"][0]
    assert (finding["path"], finding["rule"]) == ("rules[1].date", "names")
    assert finding["severity"] == "warning"
    assert "date window" in finding["message"]
    by_yaml = client.post(
        PATH,
        content=yaml.safe_dump(document).encode(),
        headers={"Content-Type": "application/yaml"},
    )
    assert by_yaml.json() == answer.json()


def test_a_typical_amount_judges_tolerances(client):
    document = DEFINITION | {"rules": [NAMES]}
    assert "wide_tolerance" in codes(client.post(f"{PATH}?typical_amount=20.00", json=document))
    judged = codes(client.post(f"{PATH}?typical_amount=2000", json=document))
    assert judged == ["recurring_without_date"]
    for wrong in ("0", "-1", "much", "1e9"):
        answer = client.post(f"{PATH}?typical_amount={wrong}", json=document)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter"), wrong


def test_a_good_definition_has_no_findings_and_none_is_stored(served, client):
    with served.connect() as connection:
        count = "SELECT count(*) FROM inbox"
        before = connection.execute(count).fetchone()
        assert codes(client.post(PATH, json=DEFINITION)) == []
        assert connection.execute(count).fetchone() == before


def test_what_cannot_be_linted_is_refused(served, client):
    invalid = client.post(PATH, json=DEFINITION | {"rules": []})
    assert (invalid.status_code, invalid.json()["error"]) == (422, "definition_invalid")
    foreign = client.post(PATH, json=DEFINITION | {"tenant_id": "globex"})
    assert (foreign.status_code, foreign.json()["details"][0]["path"]) == (422, "tenant_id")
    many = [NAMES | {"name": str(number)} for number in range(RULES_MAX + 1)]
    large = client.post(PATH, json=DEFINITION | {"rules": many})
    assert (large.status_code, large.json()["error"]) == (413, "body_too_large")
    long = NAMES | {"conditions": NAMES["conditions"] * (CONDITIONS_MAX + 1)}
    assert client.post(PATH, json=DEFINITION | {"rules": [long]}).status_code == 413
    with served.client() as anonymous:
        assert anonymous.post(PATH, json=DEFINITION).status_code == 401
