"""Shared by all tests: pictures of screens live in the top-level ``snapshots/``, one folder for each test module."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_textual_snapshot
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from syrupy.location import PyTestLocation

TOP = Path(__file__).parent.parent

# a busy machine is no failure: a property holds however long an example takes
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


class PictureExtension(pytest_textual_snapshot.SVGImageExtension):
    """Keeps each picture as ``snapshots/<test module>/<test name>.svg``."""

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        # not resolved: with a resolved path, updating the picture of one test deletes those of its siblings
        folder = Path(test_location.filepath).parent
        up = os.path.relpath(TOP / "snapshots", folder)
        return str(folder / up / test_location.basename)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files whose tests wait for real processes come first: begun last, they would run on alone."""
    items.sort(key=lambda item: item.path.parent != TOP / "tests" / "worker")


@pytest.fixture(autouse=True)
def _own_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Journals of a test, and of the programs that it runs, lie in a folder of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("OPENRTC_STATE_DIR", raising=False)


@pytest.fixture
def _pictures_at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytest_textual_snapshot, "SVGImageExtension", PictureExtension)
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def snap_compare(_pictures_at_the_top: None, snap_compare: Callable[..., bool]) -> Callable[..., bool]:
    """The plugin's fixture of that name, with pictures where this repository keeps them and colours in them."""
    return snap_compare
