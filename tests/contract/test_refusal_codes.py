"""The document on errors names every code that a command can be refused with, and no other."""

import ast
import re

LAYERS = ("domain", "flows", "api")


def codes(node: ast.expr) -> set[str]:
    """The codes an argument may be."""
    match node:
        case ast.Constant(value=str(code)):
            return {code}
        case ast.IfExp():
            return codes(node.body) | codes(node.orelse)
    raise AssertionError(f"a code is worked out: {ast.unparse(node)}")


def raised(repository) -> set[str]:
    """Every code that the code names a refusal by."""
    found = set[str]()
    for layer in LAYERS:
        for module in (repository / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(module.read_text("utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "CannotBeDone":
                    found |= codes(node.args[0])
    return found


def test_the_document_names_every_refusal_of_a_command(repository):
    text = (repository / "docs" / "errors.md").read_text("utf-8")
    section = text.partition("## What a command may be refused with")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([a-z_.]+)` \| .+\.", section, re.MULTILINE)
    assert listed == sorted(raised(repository))
