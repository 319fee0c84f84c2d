"""Every recipe of the cookbook, over its files and through the running parts: as it says."""

import json
import os
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml
from confluent_kafka import Producer

from connectors.files.definition_file import read_definition
from connectors.files.reading import read_records
from connectors.files.rows import Record
from deploy.reconcile_files import reconcile_files, write_results
from domain.definitions import Definition
from domain.money import CURRENCY_DIGITS, format_minor
from domain.transactions import SIDE_NAMES, Rejection, Transaction
from tests.acceptance.cookbook_results import Found, expected_of, found_in, served_by
from tests.integration.api.rows import PEPPER, add_tenant
from tests.integration.api.serving import serving
from tests.integration.flow.running import Role, define, eventually, holds, wait_until_defined

COOKBOOK = Path(__file__).resolve().parents[2] / "docs" / "cookbook"
RECIPES = sorted(path.parent for path in COOKBOOK.glob("*/definition.yaml"))
FILES = {"README.md", "definition.yaml", "source.csv", "target.csv", "expected.json"}
TENANT = "acme"
each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)


def definition_of(recipe: Path) -> Definition:
    return read_definition(recipe / "definition.yaml")


def test_the_index_names_every_recipe_and_the_readme_the_index(repository):
    index = (COOKBOOK / "README.md").read_text(encoding="utf-8")
    assert len(RECIPES) == 10
    assert sorted(path for path in COOKBOOK.iterdir() if path.is_dir()) == RECIPES
    for recipe in RECIPES:
        assert index.count(f"({recipe.name}/README.md)") == 1
    assert "(docs/cookbook/README.md)" in (repository / "README.md").read_text(encoding="utf-8")


@each_recipe
def test_a_recipe_is_whole_and_quotes_its_definition(recipe):
    assert {path.name for path in recipe.iterdir()} == FILES
    text = (recipe / "README.md").read_text(encoding="utf-8")
    lines = (recipe / "definition.yaml").read_text(encoding="utf-8").splitlines()
    quoted = [part.partition("```")[0] for part in text.split("```yaml\n")[1:]]
    assert quoted
    for part in quoted:
        assert set(part.splitlines()) <= set(lines)
    for one in ("## The situation", "## The definition", "## What stays an exception"):
        assert one in text
    expected = expected_of(recipe)
    assert expected.matches
    assert expected.exceptions
    for _, transaction_id, _ in expected.exceptions:
        assert transaction_id in text, "each exception is explained"


@each_recipe
def test_a_recipe_over_its_files(recipe, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "deploy.cli.main", "reconcile"),
            *("--definition", recipe / "definition.yaml"),
            *("--source", recipe / "source.csv"),
            *("--target", recipe / "target.csv"),
            *("--out", tmp_path),
        ],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rejected.jsonl").read_text() == ""
    assert json.loads((tmp_path / "summary.json").read_text())["conserved"] is True
    assert found_in(tmp_path) == expected_of(recipe)


# Of two records with a value that is unique the first to arrive is taken, so order tells there.
@pytest.mark.parametrize(
    "recipe",
    [one for one in RECIPES if "duplicate" not in str(expected_of(one).exceptions)],
    ids=lambda recipe: recipe.name,
)
def test_the_order_of_rows_changes_nothing(recipe, tmp_path):
    for name in ("source.csv", "target.csv"):
        header, *rows = (recipe / name).read_text(encoding="utf-8").splitlines(keepends=True)
        random.Random(7).shuffle(rows)
        (tmp_path / name).write_text("".join((header, *rows)), encoding="utf-8")
    results = reconcile_files(
        definition_of(recipe), tmp_path / "source.csv", tmp_path / "target.csv"
    )
    write_results(results, tmp_path)
    assert found_in(tmp_path) == expected_of(recipe)


def test_every_recipe_through_the_running_parts(database, environment, settings, tmp_path):
    flow, projections = (
        Role(environment, tmp_path / f"{name}.log", name) for name in ("flow", "projections")
    )
    with database.connect(autocommit=True) as conn, projections.running():
        tenant = add_tenant(conn, TENANT)
        with flow.running():
            for recipe in RECIPES:
                raw = yaml.safe_load((recipe / "definition.yaml").read_text(encoding="utf-8"))
                raw["window"] = raw.get("window", {}) | {"idle": "PT5S"}
                define(conn, raw)
            wait_until_defined(conn)
            assert flow.stop() == 0
        # The flow finds all records there, so none of them comes after a match was final.
        send_all(settings)
        api = settings.model_copy(update={"api_key_pepper": PEPPER})
        with (
            flow.running(),
            serving(api) as url,
            httpx.Client(base_url=url, headers=tenant.headers, trust_env=False) as client,
        ):
            eventually(60, "all is decided and readable", lambda: is_settled(client))
            found = served(client)
        assert conn.execute("SELECT code, message FROM dead_letter_queue").fetchall() == []
    holds(environment)
    assert found == {recipe.name: expected_of(recipe) for recipe in RECIPES}


def served(client: httpx.Client) -> dict[str, Found]:
    return {recipe.name: served_by(client, definition_of(recipe)) for recipe in RECIPES}


def is_settled(client: httpx.Client) -> bool:
    """Whether nothing is pending and every record stands in a match or an exception."""
    answer = client.get("/api/v1/reconciliations")
    assert answer.status_code == 200, answer.text
    if any(one["transactions"]["pending"] for one in answer.json()["items"]):
        return False
    sent = sum(len(records_of(recipe)) for recipe in RECIPES)
    return sum(one.transactions for one in served(client).values()) == sent


def send_all(settings) -> None:
    producer = Producer(settings.kafka_config())
    for recipe in RECIPES:
        for record in sorted(records_of(recipe), key=lambda one: one.occurred_at):
            producer.produce(
                settings.topic(f"transactions.{SIDE_NAMES[record.side]}"),
                json.dumps(message(record)).encode(),
                recipe.name,
            )
    assert producer.flush(10) == 0


def records_of(recipe: Path) -> list[Transaction]:
    definition = definition_of(recipe)
    records: list[Record] = []
    for side, name in enumerate(SIDE_NAMES):
        records += read_records(recipe / f"{name}.csv", side, definition)
    assert not [one for one in records if isinstance(one, Rejection)]
    return records


def message(one: Transaction) -> dict[str, object]:
    """The record a system would send for a row of its file."""
    fee, base, base_currency, fx_rate, fx_to, _ = one.extra or (None,) * 6
    fields = {
        "tenant_id": one.tenant_id,
        "reconciliation_id": one.reconciliation_id,
        "transaction_id": one.transaction_id,
        "amount": format_minor(one.amount_minor, CURRENCY_DIGITS[one.currency]),
        "currency": one.currency,
        "occurred_at": occurred_at(one),
        "reference": one.reference,
        "counterparty": one.counterparty,
        "description": one.description,
        "attributes": one.attributes,
        "fee": None if fee is None else format_minor(fee, CURRENCY_DIGITS[one.currency]),
        "base_amount": base if base is None else format_minor(base, CURRENCY_DIGITS[base_currency]),
        "base_currency": base_currency,
        "fx_rate": fx_rate,
        "fx_to": fx_to,
    }
    return {name: value for name, value in fields.items() if value is not None}


def occurred_at(one: Transaction) -> str:
    instant = datetime.fromtimestamp(one.occurred_at / 1_000_000, UTC)
    return instant.date().isoformat() if one.is_date else instant.isoformat()
