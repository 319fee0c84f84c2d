"""`settler demo` as a person starts it: processes, Kafka, Postgres, API, and the verdict."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from connectors.settings import PREFIX

TRANSACTIONS = 3_000
RUN_SECONDS = 150
COMMAND = (sys.executable, "-m", "deploy.cli.main", "demo", "--transactions", str(TRANSACTIONS))


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """No setting of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def run_headless(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--headless", "--json", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )


def test_the_result_is_the_truth_record_for_record(clean_environment):
    done = run_headless(clean_environment, "--seed", "11")
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads(done.stdout)
    assert told["exact"] is True
    assert told["differences"] == []
    assert told["verified"] == {"holds": True, "differences": []}
    assert "messages of Kafka accounted for" in done.stderr
    assert told["transactions"] >= TRANSACTIONS
    assert len(told["reconciliations"]) == 3
    for one in told["reconciliations"]:
        assert one["found"] == one["expected"]
        assert one["found"]["matches"] > 100
        assert one["found"]["exceptions"] > 0
    assert told["dead_letters"]["found"] == told["dead_letters"]["expected"] > 0


def test_a_falsified_truth_is_noticed(clean_environment):
    # Somebody else's settings in the environment reach none of the demo's processes.
    environment = clean_environment | {"SETTLER_DATABASE_URL_FLOW": "postgresql://nowhere/none"}
    done = run_headless(environment, "--corrupt-truth")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["exact"] is False
    assert told["verified"]["holds"] is True, "what is stored is right, the truth was falsified"
    kinds = sorted(difference.split(":")[0] for difference in told["differences"])
    assert kinds == ["missing exception", "unexpected match"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_it_started(clean_environment, number):
    demo = subprocess.Popen(
        [*COMMAND, "--port", "0"], env=clean_environment, stderr=subprocess.PIPE, text=True
    )
    started: list[psutil.Process] = []
    assert demo.stderr is not None
    try:
        for line in demo.stderr:
            if "sending" in line:
                break
        started = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(number)
        assert demo.wait(60) == 128 + number
    finally:
        demo.kill()
        demo.wait()
        demo.stderr.close()
    assert len(started) > 5
    gone, left = psutil.wait_procs(started, timeout=5)
    assert not left
    assert len(gone) == len(started)


def test_the_dashboard_stays_until_a_signal(clean_environment):
    import httpx

    demo = subprocess.Popen(COMMAND, env=clean_environment, stderr=subprocess.PIPE, text=True)
    url, keys = "", []
    assert demo.stderr is not None
    try:
        deadline = time.monotonic() + RUN_SECONDS
        for line in demo.stderr:
            assert time.monotonic() < deadline
            if "the dashboard is at" in line:
                url = line.split()[-1]
            elif "API key of tenant" in line:
                keys.append(line.split()[-1])
            elif "Ctrl-C" in line:
                break
        assert httpx.get(url).status_code == 200
        headers = {"Authorization": f"Bearer {keys[0]}"}
        answer = httpx.get(f"{url}api/v1/reconciliations", headers=headers)
        assert [one["transactions"]["pending"] for one in answer.json()["items"]] == [0, 0]
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(60) == 0
    finally:
        demo.kill()
        demo.wait()
        demo.stderr.close()
