"""A real server that a folder of tests runs on: without it one visible skip, or a failure where it is required."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.go_program import MissingProgramError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(slots=True, kw_only=True)
class RealServer:
    """What a folder's ``conftest`` makes of its server's program.

    Attributes:
        folder: the tests that need it.
        canary: the name of the one that stays to be skipped when it is not there.
        variable: set to ``1`` in the environment, it makes that skip a failure.
        require: gives the program's path, building it with progress where it must, or raises MissingProgramError.
    """

    folder: Path
    canary: str
    variable: str
    require: Callable[[Callable[[str], None]], Path]
    problem: str | None = None

    def collected(self, config: pytest.Config, items: list[pytest.Item]) -> list[pytest.Item]:
        """The folder's tests among *items*; where there is no program all but the canary are taken out of both."""
        ours = [item for item in items if item.path.is_relative_to(self.folder)]
        if not ours or config.option.collectonly:
            return ours
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        try:
            self.require(lambda line: reporter.write_line(f"==> {line}") if reporter else None)
        except MissingProgramError as missing:
            self.problem = str(missing)
            idle = [item for item in ours if item.name != self.canary]
            items[:] = [item for item in items if item not in idle]
            config.hook.pytest_deselected(items=idle)
        return [item for item in ours if item in items]

    def binary(self) -> Path:
        """The program; skips without one, or fails where it is required."""
        if self.problem is None:
            return self.require(print)
        if os.environ.get(self.variable) == "1":
            pytest.fail(self.problem, pytrace=False)
        pytest.skip(self.problem)
