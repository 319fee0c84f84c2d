"""The curl commands in the documents do what the documents say."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.flow.shell import commands_of

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
MARK = "-- the next command --"


WITH_CURL = [document for document in DOCUMENTS if "curl" in document.read_text()]


def test_there_are_such_documents():
    assert ROOT / "docs/api.md" in WITH_CURL
    assert ROOT / "README.md" in WITH_CURL


@pytest.mark.parametrize("document", WITH_CURL, ids=lambda document: document.name)
def test_documented_commands_do_what_is_said(served, tmp_path, document):
    commands = commands_of(document, "curl", "ask ")
    assert any("curl" in command for command, _ in commands)
    script = "".join(f"echo '{MARK}'\n{command}\n" for command, _ in commands)
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "no_proxy": "*",
        "SETTLER_URL": served.url, "SETTLER_KEY": served.acme.key,
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    printed = done.stdout.split(f"{MARK}\n")[1:]
    assert len(printed) == len(commands)
    for (command, expected), actual in zip(commands, printed, strict=True):
        pattern = ".*".join(re.escape(part) for part in expected.split("…"))
        assert re.fullmatch(pattern, actual.rstrip("\n"), re.DOTALL), (command, actual[:2000])
