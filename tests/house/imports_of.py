"""``python -m tests.house.imports_of FOLDER``: what each source file imports at run time, as one JSON object."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path


def imports_of(source: str) -> set[str]:
    """Every module that *source* imports at run time; imports for type checking are exempt."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


if __name__ == "__main__":
    print(
        json.dumps(
            {path.as_posix(): sorted(imports_of(path.read_text())) for path in Path(sys.argv[1]).rglob("*.py")}
        )
    )
