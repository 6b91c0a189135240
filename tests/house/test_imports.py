"""Who may import whom, where import-linter cannot see it: real processes and the source itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("livekit", "aiohttp", "prometheus_client")


def modules_loaded_by(statement: str) -> set[str]:
    """The top-level names of all modules that a fresh interpreter has after *statement*."""
    program = (
        f"{statement}\nimport json, sys; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "statement",
    [
        "import openrtc_tui.app",
        "import openrtc_tui.commands.dashboard",
        "import openrtc_tui.commands.demo",
        "import openrtc_worker",
        "from openrtc_worker.contract import snapshot, audit, control_token, membership",
    ],
)
def test_importing_it_loads_nothing_of_the_worker_s_machinery(statement):
    assert not modules_loaded_by(statement) & set(HEAVY)


def test_the_command_line_loads_neither_toolkit_nor_http():
    loaded = modules_loaded_by("import openrtc_tui.cli")
    assert not loaded & {*HEAVY, "textual", "rich", "httpx", "httpcore", "yaml", "cryptography"}


def imports_below(folder: str) -> dict[str, set[str]]:
    """Every module that each source file of *folder* imports at run time, by the file's path.

    Read in a process of its own: in a busy one CPython 3.11 may lose count of its recursion while it makes a tree.
    """
    command = [sys.executable, "-m", "tests.house.imports_of", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return {path: set(names) for path, names in json.loads(done.stdout).items()}


def test_livekit_agents_is_imported_by_the_adapter_alone():
    importers = {
        path
        for path, names in imports_below("openrtc_worker").items()
        if any(name == "livekit.agents" or name.startswith("livekit.agents.") for name in names)
    }
    assert importers == {"openrtc_worker/livekit.py"}


def test_every_module_of_the_worker_is_under_an_import_contract():
    """A new module beside the adapter must be named in contract 2b, or it could import livekit unseen."""
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = next(set(c["source_modules"]) for c in contracts if c["name"].startswith("2b"))
    present = {
        f"openrtc_worker.{path.stem}"
        for path in (ROOT / "openrtc_worker").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and not path.name.startswith("__")
    }
    assert present - named == {"openrtc_worker.livekit", "openrtc_worker.local"}
