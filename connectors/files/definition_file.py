"""A definition from a YAML or JSON file; JSON is read as the YAML it also is."""

from pathlib import Path
from typing import Any

import yaml

from connectors.files.errors import FileUnusable
from domain.definition_parsing import parse_definition
from domain.definitions import Definition


class _Loader(yaml.SafeLoader):
    """YAML in which decimals and dates stay the text they are written as."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice: the last would silently win."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


_AS_WRITTEN = ("tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _AS_WRITTEN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_definition(path: Path, tenant_id: str | None = None) -> Definition:
    """Read and check a definition file.

    Args:
        path: YAML or JSON.
        tenant_id: Whose it is, when the file may leave it out; it may not contradict it.

    Raises:
        FileUnusable: The file is missing, unreadable or not YAML.
        DefinitionInvalid: It means nothing; every problem is told with its path.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as exc:
        raise FileUnusable(path, "does not exist") from exc
    except UnicodeDecodeError as exc:
        raise FileUnusable(path, "is not UTF-8; save it as UTF-8") from exc
    except OSError as exc:
        raise FileUnusable(path, f"cannot be read ({exc.strerror or exc})") from exc
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as exc:
        raise FileUnusable(path, f"is not YAML: {exc}") from exc
    return parse_definition(document, tenant_id)
