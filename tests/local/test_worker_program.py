"""The embedded worker's program: what it cannot be started with is one line."""

from __future__ import annotations

import pytest

from openrtc_worker.local.worker import main

REQUIRED = [
    *("--version", "v1.0.0", "--control-port", "0", "--capacity", "1", "--drain-timeout", "1"),
    *("--isolation", "thread", "--operator-keys", "operators", "--state-dir", "state"),
]


@pytest.mark.parametrize(("mode", "problem"), [(None, "no such file"), (0o644, "chmod 600"), (0o600, "utf-8")])
def test_a_membership_secret_that_cannot_be_used_is_one_line(tmp_path, capsys, mode, problem):
    secret = tmp_path / "secret"
    if mode is not None:
        secret.write_bytes(b"\xff\n")
        secret.chmod(mode)
    assert main([*REQUIRED, "--membership-secret-file", str(secret)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("--membership-secret-file: ")
    assert problem in line
