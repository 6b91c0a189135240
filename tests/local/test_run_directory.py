"""The files of an embedded fleet, and the lines that it tells of itself."""

from __future__ import annotations

import json
import os

import pytest

from openrtc_tui.fleet_file import load_fleet_file
from openrtc_tui.fleet_specs import LocalSpec, ManifestSpec
from openrtc_worker.contract.keys import KeyFileError
from openrtc_worker.contract.membership import derive_version_secret
from openrtc_worker.local.fleet import FleetPlan
from openrtc_worker.local.progress import Progress, calls_ended_message
from openrtc_worker.local.run_directory import Rollout, RunDirectory

ROLLOUT = Rollout(fleet="demo", from_version="v1.0.0", to_version="v2.0.0", drain_timeout=600)


def test_the_fleet_file_is_one_that_the_dashboard_opens(tmp_path):
    specs = FleetPlan(workers=3).specs(tuple(range(41001, 41007)))
    directory = RunDirectory(tmp_path)
    directory.prepare(specs)
    path = directory.write_fleet_file(specs, rollout=ROLLOUT)
    fleet = load_fleet_file(path)  # reads the key file too, and checks its permissions
    assert [worker.key for worker in fleet.workers] == [
        *("voice-a-1", "voice-a-2", "voice-a-3"),
        *("voice-b-1", "voice-b-2", "voice-b-3"),
    ]
    assert fleet.workers[0].url == "http://127.0.0.1:41001"
    assert (fleet.rollout.from_version, fleet.rollout.to_version) == ("v1.0.0", "v2.0.0")
    assert fleet.operator.key_file == directory.key_file
    assert fleet.drain_timeout == 600
    assert [str(master) for master in fleet.membership.masters] == [str(directory.master_file)]
    assert fleet.manifest == ManifestSpec(directory.release_key_file, "put")
    assert fleet.rollback == LocalSpec(directory.platform_socket)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "demo.pem",
        "fleet.yaml",
        "logs",
        "membership",
        "membership-master",
        "operators",
        "release-keys",
        "release.pem",
        "state",
        "tmp",
    ]


def test_the_private_key_is_the_operators_alone_and_not_among_the_workers_keys(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.prepare(())
    assert directory.key_file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in directory.operator_keys.iterdir()] == ["demo.pub.pem"]


def test_each_version_has_its_own_secret_and_only_the_dashboard_has_the_master(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.prepare(FleetPlan(workers=1).specs((41001, 41002)))
    master = directory.master_file.read_text()
    for version in ("v1.0.0", "v2.0.0"):
        file = directory.secret_file(version)
        assert file.read_text() == derive_version_secret(master, version)
        assert file.stat().st_mode & 0o777 == 0o600
    assert directory.master_file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in directory.release_keys.iterdir()] == ["release.pub.pem"]


def test_a_folder_whose_path_is_too_long_for_a_socket_has_none(tmp_path):
    assert RunDirectory(tmp_path / ("x" * 90)).platform_socket is None


def test_a_folder_with_an_earlier_fleet_in_it_is_refused(tmp_path):
    RunDirectory(tmp_path).prepare(())
    with pytest.raises((OSError, KeyFileError), match="exist"):
        RunDirectory(tmp_path).prepare(())


def test_what_a_worker_of_ones_own_needs_is_written_for_its_owner_alone(tmp_path):
    path = RunDirectory(tmp_path).write_livekit_env(url="ws://127.0.0.1:7880", api_key="k", api_secret="s")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().split() == [
        "LIVEKIT_URL=ws://127.0.0.1:7880",
        "LIVEKIT_API_KEY=k",
        "LIVEKIT_API_SECRET=s",
    ]


def test_the_callers_of_a_plan_keep_one_version_six_tenths_full():
    for workers in (1, 3, 20):
        plan = FleetPlan(workers=workers)
        profile = plan.profile()
        live_calls = profile.per_second * profile.mean_length  # Little's law
        assert live_calls / (plan.capacity * workers) == pytest.approx(0.6)


def read_lines(descriptor: int) -> list[dict]:
    with os.fdopen(descriptor) as reading:
        return [json.loads(line) for line in reading]


def test_progress_is_one_json_object_a_line_with_the_seconds_since_the_start():
    times = iter([10.0, 10.5, 12.25])
    reading, writing = os.pipe()
    progress = Progress(writing, clock=lambda: next(times))
    progress.say("worker", name="voice-a-1", state="serving")
    progress.say("stopped", calls_ended=0)
    os.close(writing)
    assert read_lines(reading) == [
        {"event": "worker", "seconds": 0.5, "name": "voice-a-1", "state": "serving"},
        {"event": "stopped", "seconds": 2.25, "calls_ended": 0},
    ]


def test_a_reader_that_is_gone_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    Progress(writing, clock=lambda: 0.0).say("ready")
    os.close(writing)


@pytest.mark.parametrize(("calls", "words"), [(0, "no simulated call"), (1, "1 simulated call."), (7, "7 simulated")])
def test_the_goodbye_names_the_calls_that_it_ended(calls, words):
    assert words in calls_ended_message(calls)
