"""Getting Apache Kafka: once, whole or not at all; and why not, where a machine cannot have it."""

import re
import shutil
import subprocess
import sys

import pytest

from deploy.kafka import distribution as module
from deploy.kafka.distribution import KafkaUnavailable, distribution

COPIES = """
for one in "$@"; do
    case $one in -DoutputDirectory=*) mkdir -p "${one#*=}"; touch "${one#*=}/kafka.jar";; esac
done
"""
FAILS = 'echo "[ERROR] Could not resolve kafka_2.13"; echo "[ERROR] more"; exit 1'


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Put programs on an otherwise empty path; nothing is cached at first."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    found = {}
    monkeypatch.setattr(module.shutil, "which", found.get)
    monkeypatch.setattr(module.sys, "prefix", str(tmp_path / "environment"))

    def has(name, script):
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        found[name] = str(program)

    return has


def java(version):
    return f"echo 'openjdk version \"{version}\" 2025-04-15' >&2"


def test_it_is_fetched_once_and_then_needs_no_maven(machine):
    machine("java", java("17.0.15"))
    machine("mvn", COPIES)
    first = distribution()
    assert [one.name for one in first.jars.iterdir()] == ["kafka.jar"]
    assert [one.name for one in first.jars.parent.iterdir()] == [first.jars.name], "nothing is left"
    machine("mvn", FAILS)
    assert distribution() == first
    command = first.command("kafka.Kafka", "-Xmx1m")
    assert command == [first.java, "-Xmx1m", "-cp", f"{first.jars}/*", "kafka.Kafka"]


def test_what_maven_cannot_get_is_said_and_leaves_nothing(machine, tmp_path):
    machine("java", java("21"))
    machine("mvn", FAILS)
    with pytest.raises(KafkaUnavailable, match=re.escape("Could not resolve kafka_2.13")):
        distribution()
    assert list((tmp_path / "environment" / "share" / "apache-kafka").iterdir()) == []


@pytest.mark.parametrize(
    ("version", "told"), [("11.0.2", "is Java 11"), ("1.8.0_392", "is Java 1"), (None, "no java")]
)
def test_without_a_java_that_runs_it_there_is_none(machine, version, told):
    machine("mvn", COPIES)
    if version is not None:
        machine("java", java(version))
    with pytest.raises(KafkaUnavailable, match=told):
        distribution()


def test_without_maven_there_is_none(machine):
    machine("java", java("17"))
    with pytest.raises(KafkaUnavailable, match="no mvn"):
        distribution()


def test_the_targets_say_why_they_do_nothing_and_end_well(repository, tmp_path):
    """With everything that make needs on the path, but no Java."""
    for name in ("bash", "sh", "mkdir"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    for target in ("test-kafka", "chaos-kafka"):
        done = subprocess.run(
            [shutil.which("make"), "-o", ".venv/.installed", f"BIN={sys.prefix}/bin", target],
            cwd=repository,
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{target}: skipped, no java on the path"), done.stdout
