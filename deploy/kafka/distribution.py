"""Apache Kafka's files, by their Maven coordinates: fetched once, then there without a network.

`python -m deploy.kafka.distribution` fetches them and prints where they are; where a machine cannot
have them it says why and ends with code 3.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from domain.errors import SettlerError

JAVA_VERSION_MIN = 17
UNAVAILABLE = 3
"""Exit code where a machine cannot have it."""
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_FETCH_SECONDS = 600
_ASK_SECONDS = 30


class KafkaUnavailable(SettlerError):
    """This machine cannot run an Apache Kafka, or cannot get it."""

    code = "kafka.unavailable"


class Distribution(NamedTuple):
    """What it takes to run a broker.

    Attributes:
        java: The Java program.
        jars: The folder of the broker and all it needs.
    """

    java: str
    jars: Path

    def command(self, main_class: str, *options: str) -> list[str]:
        """Return the command that runs a class of Kafka's; JVM options come first."""
        return [self.java, *options, "-cp", f"{self.jars}/*", main_class]


def distribution() -> Distribution:
    """Give Kafka's files, fetching them with Maven where this environment does not have them yet.

    Raises:
        KafkaUnavailable: There is no Java of 17 or later, or no Maven, or Maven could not get them.
    """
    java = _java()
    pom = resources.files("deploy.kafka").joinpath("pom.xml").read_bytes()
    # Beside the Python packages, one folder for each content of the pom.
    cache = Path(sys.prefix) / "share" / "apache-kafka"
    jars = cache / hashlib.sha256(pom).hexdigest()[:16]
    if not jars.is_dir():
        _fetch(pom, jars)
    return Distribution(java, jars)


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise KafkaUnavailable(f"no java on the path; it takes a JRE {JAVA_VERSION_MIN} or later")
    asked = subprocess.run(
        [java, "-version"], capture_output=True, text=True, timeout=_ASK_SECONDS, check=False
    )
    found = re.search(r'version "(\d+)', asked.stderr + asked.stdout)
    if found is None or int(found[1]) < JAVA_VERSION_MIN:
        version = found[1] if found else "of unknown version"
        raise KafkaUnavailable(f"{java} is Java {version}; it takes {JAVA_VERSION_MIN} or later")
    return java


def _fetch(pom: bytes, jars: Path) -> None:
    """Have Maven copy the files into a folder, which appears with all of them or not at all."""
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailable("no mvn on the path; it takes Maven to get Apache Kafka once")
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=jars.parent) as folder:
        pom_path, copied = Path(folder) / "pom.xml", Path(folder) / "jars"
        pom_path.write_bytes(pom)
        command = [maven, "--batch-mode", "--quiet", "--file", str(pom_path), _COPY]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={copied}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise KafkaUnavailable(f"Maven has not got it within {_FETCH_SECONDS} s") from exc
        if done.returncode:
            problems = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
            said = problems[0].removeprefix("[ERROR] ") if problems else done.stderr[-500:]
            raise KafkaUnavailable(f"Maven could not get Apache Kafka: {said}")
        if not jars.is_dir():
            copied.rename(jars)


def main() -> int:
    """Fetch it where it is not there; return the exit code."""
    try:
        print(distribution().jars)  # noqa: T201 - the answer of a command
    except KafkaUnavailable as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - the answer of a command
        return UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
