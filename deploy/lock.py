"""Print a constraints file: every package the project needs, resolved to one version each."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HEADER = """\
# Every package of the environment, direct or not, at the version the tests ran with.
# The same for Python 3.11 and 3.12; `make lock` writes it anew from pyproject.toml.
"""


def resolve(project: Path) -> dict[str, str]:
    """Ask pip which versions a fresh environment would get, without installing any.

    Raises:
        subprocess.CalledProcessError: pip finds no set of versions that fits together.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), f"{project}[embedded,dev]"]
        subprocess.run(command, check=True)
        items = json.loads(report.read_text())["install"]
    versions = {item["metadata"]["name"]: item["metadata"]["version"] for item in items}
    versions.pop("settler", None)
    return versions


def main() -> int:
    """Write the file to standard output."""
    versions = resolve(Path(__file__).resolve().parent.parent)
    lines = [f"{name}=={versions[name]}\n" for name in sorted(versions, key=str.lower)]
    sys.stdout.write(HEADER + "".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
