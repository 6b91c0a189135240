"""What the tree promises as a whole: sizes, names, nothing of one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked_files() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    names = done.stdout.split("\0") if done.returncode == 0 else []
    files = [ROOT / name for name in names if name]
    return [path for path in files if path.is_file()] or [
        path for top in ("openrtc_tui", "openrtc_worker", "tests", "snapshots") for path in (ROOT / top).rglob("*.*")
    ]


def test_no_module_of_the_packages_is_longer_than_500_lines():
    long = {
        path.relative_to(ROOT).as_posix(): count
        for package in ("openrtc_tui", "openrtc_worker")
        for path in (ROOT / package).rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 500
    }
    assert long == {}


def test_no_file_names_a_home_directory_of_one_machine():
    pattern = re.compile(r"/(?:root|home/[a-z]+|Users/[A-Za-z]+|work)/")
    found = [
        path.relative_to(ROOT).as_posix()
        for path in tracked_files()
        if path != Path(__file__) and pattern.search(path.read_text(errors="ignore"))
    ]
    assert found == []


def test_pinned_versions_carry_no_addresses():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile"])
def test_the_files_people_expect_are_there(name):
    assert (ROOT / name).stat().st_size > 200
