"""Manifests on one boot: from its endpoint, a file, a URL and the boot before; what is broken changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import json
import logging
import os
import threading
import time
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from openrtc_worker import gatekeeper, manifest_source
from openrtc_worker.boot import Boot
from openrtc_worker.contract.manifest import ManifestRefused
from openrtc_worker.contract.membership import FleetVerifier, MembershipError, derive_version_secret
from openrtc_worker.control.settings import ControlError
from openrtc_worker.control.target import Requester
from openrtc_worker.fleet_settings import FleetSetupError
from openrtc_worker.gatekeeper import Gatekeeper
from openrtc_worker.manifest_source import KeptManifest, ManifestSource, SourceError
from openrtc_worker.settings import WorkerSettings
from openrtc_worker.snapshots import Link
from tests.support.processes import until
from tests.support.release import FLEET, Release

if TYPE_CHECKING:
    from pathlib import Path

BY = Requester(source="http", actor="alice", op_id="op-1")


class FakeLiveKitSide:
    """A livekit that is connected, and remembers each load that it was told at once."""

    def __init__(self) -> None:
        self.boot: Boot | None = None
        self.told: list[float] = []

    def tell_full(self) -> None: ...

    def tell_load(self) -> None:
        assert self.boot is not None
        self.told.append(self.boot.reported_load)

    def active_job_ids(self):
        return ()

    def unassigned_job_ids(self):
        return ()

    def kill_jobs(self, _pids) -> None: ...

    def link(self) -> Link:
        return Link(connected=True)


@asynccontextmanager
async def opened(
    release: Release | None = None, *, version: str | None = "v1", environ=None, monotonic=time.monotonic, **changed
):
    side = FakeLiveKitSide()
    given = {"fleet": FLEET, "release_keys": release.keys} if release is not None else {}
    settings = WorkerSettings(deployment_version=version, control_port=0, after_drain="exit", **{**given, **changed})
    side.boot = boot = Boot(
        settings, side, audit_sink=lambda _event: None, monotonic=monotonic, environ=environ or {}
    )
    try:
        await boot.open()
        boot.registered()
        yield boot
    finally:
        await boot.say_bye(0)
        await boot.close()


@pytest.fixture
def release(tmp_path) -> Release:
    return Release(tmp_path / "release")


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Sources are read so often that no test waits for it."""
    monkeypatch.setattr(manifest_source, "FILE_EVERY", 0.05)
    monkeypatch.setattr(manifest_source, "URL_EVERY", 0.05)


def events(boot, event_type):
    return [event for event in boot.audit_log.after(0) if event.event_type == event_type]


def no_space_left(*_arguments) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write(file: Path, text: str) -> None:
    """In one step: a look in between would find an empty file."""
    fresh = file.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.replace(file)


# -- what a manifest does -------------------------------------------------------------------------------------


async def test_a_worker_that_is_not_named_is_gated_and_keeps_serving(release):
    async with opened(release) as boot:
        assert boot.refusal() is None
        assert boot.install_manifest(release.sign("v2"), by=BY) == "started"
        shown = boot.runtime_snapshot()
        assert (shown.state, shown.accepting) == ("serving", False)
        assert (shown.fleet, shown.manifest.seq, shown.manifest.active, shown.manifest.allows) == (
            FLEET,
            1,
            ["v2"],
            False,
        )
        assert boot.refusal() == "manifest"
        assert not shown.draining


async def test_livekit_hears_at_once_that_a_gated_worker_is_full_and_that_it_is_not_any_more(release):
    async with opened(release) as boot:
        for active in ("v2", "v1"):
            boot.install_manifest(release.sign(active), by=BY)
        assert boot._livekit.told == [1.0, 0.0]
        assert boot.runtime_snapshot().accepting


async def test_who_put_it_and_what_it_says_is_audited_once(release):
    async with opened(release) as boot:
        token = release.sign("v1", "v2")
        assert boot.install_manifest(token, by=BY) == "started"
        assert boot.install_manifest(token, by=BY) == "already"
        (event,) = events(boot, "manifest.accepted")
        assert (event.actor, event.fields["op_id"], event.fields["source"]) == ("alice", "op-1", "http")
        assert (event.fields["manifest_seq"], event.fields["active"], event.fields["allows"]) == (
            1,
            ["v1", "v2"],
            True,
        )
        assert event.fields["issued_by"] == "alice"


async def test_cordoned_and_draining_are_told_before_gated(release):
    async with opened(release) as boot:
        boot.install_manifest(release.sign("v2"), by=BY)
        boot.cordon(by=BY)
        assert boot.refusal() == "cordoned"
        boot.uncordon(by=BY)
        assert boot.refusal() == "manifest"
        assert boot.reported_load == 1.0
        boot.begin_drain(by=BY)
        assert boot.refusal() == "draining"


async def test_a_required_manifest_that_is_missing_means_no_calls(release):
    async with opened(release, manifest_required=True) as boot:
        shown = boot.runtime_snapshot()
        assert (shown.manifest.seq, shown.manifest.allows, shown.accepting) == (None, False, False)
        assert (boot.refusal(), boot.reported_load) == ("manifest", 1.0)
        boot.install_manifest(release.sign("v1"), by=BY)
        assert (boot.refusal(), boot.reported_load) == (None, 0.0)


async def test_a_worker_without_release_keys_takes_no_manifest_and_shows_none(release):
    async with opened() as boot:
        assert boot.runtime_snapshot().manifest is None
        with pytest.raises(ManifestRefused, match="OPENRTC_RELEASE_KEYS"):
            boot.install_manifest(release.sign("v2"), by=BY)
        assert boot.refusal() is None


@pytest.mark.parametrize("reason", ["fleet", "key", "signature", "seq", "conflict"])
async def test_what_is_refused_changes_nothing(release, tmp_path, reason):
    async with opened(release) as boot:
        boot.install_manifest(release.sign("v1"), by=BY)
        wrong = {
            "fleet": lambda: release.sign("v2", fleet="production"),
            "key": lambda: Release(tmp_path / "other", "mallory").sign("v2", seq=9),
            "signature": lambda: Release(tmp_path / "other").sign("v2", seq=9),
            "seq": lambda: (boot.install_manifest(release.sign("v1"), by=BY), release.sign("v2", seq=1))[1],
            "conflict": lambda: release.sign("v2", seq=1),
        }[reason]()
        with pytest.raises(ManifestRefused) as refused:
            boot.install_manifest(wrong, by=BY)
        assert refused.value.reason == reason
        assert boot.refusal() is None


async def test_a_release_key_that_is_added_counts_from_the_next_request_on(release, tmp_path):
    second = Release(tmp_path / "second", "second")
    async with opened(release) as boot:
        token = second.sign("v2")
        with pytest.raises(ManifestRefused):
            boot.install_manifest(token, by=BY)
        (tmp_path / "second" / "second.pub.pem").rename(tmp_path / "release" / "second.pub.pem")

        async def taken() -> bool:
            await boot.refresh_release_keys()
            with contextlib.suppress(ManifestRefused):
                return boot.install_manifest(token, by=BY) == "started"
            return False

        async with asyncio.timeout(10):
            while not await taken():  # noqa: ASYNC110 - a folder has no event
                await asyncio.sleep(0.1)


# -- what a worker remembers ----------------------------------------------------------------------------------


async def test_a_worker_that_restarts_alone_remembers_the_newest_manifest(release, tmp_path):
    state = {"state_dir": tmp_path / "state", "environ": {"OPENRTC_WORKER_ID": "w1"}}
    async with opened(release, **state) as boot:
        boot.install_manifest(release.sign("v1"), by=BY)
        boot.install_manifest(release.sign("v2"), by=BY)
    [kept] = (tmp_path / "state").glob("*.jws")
    assert kept.stat().st_mode & 0o777 == 0o600
    async with opened(release, **state) as boot:
        assert boot.refusal() == "manifest"
        assert boot.runtime_snapshot().manifest.seq == 2
        assert events(boot, "manifest.accepted") == []  # it was audited when it came
        with pytest.raises(ManifestRefused, match="seq"):
            boot.install_manifest(release.sign("v1", seq=1), by=BY)


async def test_a_manifest_that_a_full_disk_did_not_take_is_kept_once_there_is_room(release, tmp_path, monkeypatch):
    """Otherwise the next boot would obey an older one."""
    later = 0.0
    state = {"state_dir": tmp_path, "environ": {"OPENRTC_WORKER_ID": "w1"}}
    async with opened(release, monotonic=lambda: time.monotonic() + later, **state) as boot:
        boot.install_manifest(release.sign("v1"), by=BY)
        kept = tmp_path / "manifest-w1.jws"
        await until(kept.exists, what="the first one")
        with monkeypatch.context() as full:
            full.setattr(KeptManifest, "keep", no_space_left)
            newest = release.sign("v2")
            boot.install_manifest(newest, by=BY)
            await until(lambda: "call_file_failing" in boot.runtime_snapshot().findings, what="the finding")
        assert kept.read_text().strip() != newest
        later = gatekeeper.KEEP_AGAIN
        await until(lambda: kept.read_text().strip() == newest, what="the newest one")
        await until(lambda: boot.runtime_snapshot().findings == [], what="the end of the finding")


async def test_an_older_manifest_that_comes_before_the_folder_is_read_does_not_take_its_place(
    release, tmp_path, monkeypatch
):
    """The endpoint answers already while the folder is being opened."""
    old, newest = release.sign("v1"), release.sign("v2")
    kept = tmp_path / "manifest-w1.jws"
    kept.write_text(newest)
    opens = Gatekeeper.open

    async def opens_late(self: Gatekeeper, *arguments) -> None:
        await self.refresh_keys()
        assert self.install(old, by=BY) == "started"
        await opens(self, *arguments)

    monkeypatch.setattr(Gatekeeper, "open", opens_late)
    async with opened(release, state_dir=tmp_path, environ={"OPENRTC_WORKER_ID": "w1"}) as boot:
        assert boot.runtime_snapshot().manifest.seq == 2
    assert kept.read_text().strip() == newest


@pytest.mark.parametrize("content", ["", "garbage", "a.b.c", "x" * 100_000])
async def test_what_is_kept_and_broken_is_as_if_it_were_not_there(release, tmp_path, caplog, content):
    (tmp_path / "manifest-w1.jws").write_text(content)
    async with opened(release, state_dir=tmp_path, environ={"OPENRTC_WORKER_ID": "w1"}) as boot:
        assert boot.runtime_snapshot().manifest.seq is None
        assert "does not count" in caplog.text


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("nowhere")])
async def test_what_is_kept_and_no_file_holds_up_no_start(release, tmp_path, caplog, make):
    make(tmp_path / "manifest-w1.jws")
    async with opened(release, state_dir=tmp_path, environ={"OPENRTC_WORKER_ID": "w1"}) as boot:
        assert boot.runtime_snapshot().manifest.seq is None
        assert "manifest-w1.jws: " in caplog.text


async def test_what_is_kept_is_verified_again_by_the_keys_of_now(release, tmp_path):
    stranger = Release(tmp_path / "stranger")
    (tmp_path / "manifest-w1.jws").write_text(stranger.sign("v2", seq=99))
    async with opened(release, state_dir=tmp_path, environ={"OPENRTC_WORKER_ID": "w1"}) as boot:
        assert boot.runtime_snapshot().manifest.seq is None


# -- a file ---------------------------------------------------------------------------------------------------


async def test_a_file_is_known_before_the_first_registration_and_read_again(release, tmp_path):
    file = tmp_path / "manifest.jws"
    file.write_text(release.sign("v2") + "\n")
    async with opened(release, manifest=file) as boot:
        assert boot.refusal() == "manifest"
        write(file, release.sign("v1"))
        await until(lambda: boot.refusal() is None, what="the newer manifest")
        assert [event.fields["source"] for event in events(boot, "manifest.accepted")] == ["file", "file"]


async def test_a_file_that_vanishes_or_breaks_keeps_the_newest_one_and_is_a_finding(release, tmp_path, caplog):
    file = tmp_path / "manifest.jws"
    file.write_text(release.sign("v2"))
    async with opened(release, manifest=str(file)) as boot:
        for spoil in (file.unlink, lambda: write(file, "garbage"), lambda: write(file, "")):
            spoil()
            await until(lambda: "manifest_unreadable" in boot.runtime_snapshot().findings, what="the finding")
            assert boot.refusal() == "manifest"
            write(file, release.sign("v2"))
            await until(lambda: "manifest_unreadable" not in boot.runtime_snapshot().findings, what="the recovery")
        assert caplog.text.count("the newest one that is known holds") == 3


@pytest.mark.parametrize("wrong", ["fleet", "signature", "conflict"])
async def test_a_refused_file_is_audited_once_however_often_it_is_read(release, tmp_path, wrong):
    file = tmp_path / "manifest.jws"
    file.write_text(release.sign("v1"))
    async with opened(release, manifest=file) as boot:
        token = {
            "fleet": lambda: release.sign("v2", fleet="production"),
            "signature": lambda: Release(tmp_path / "stranger").sign("v2", seq=9),
            "conflict": lambda: release.sign("v2", seq=1),
        }[wrong]()
        write(file, token)
        await until(lambda: events(boot, "manifest.refused"), what="the refusal")
        await asyncio.sleep(0.3)  # a handful of looks more
        (event,) = events(boot, "manifest.refused")
        assert (event.result, event.fields["source"]) == ("refused", "file")
        assert event.fields["reason"] == ("conflict" if wrong == "conflict" else "manifest")
        assert event.fields["detail"].startswith(f"{wrong}: ")
        assert boot.refusal() is None


async def test_a_page_that_differs_at_each_look_does_not_push_all_else_out_of_the_audit(release, monkeypatch):
    """A login page with a nonce, say: 20 events, then one in five minutes, which tells how many were left out."""
    later = 0.0
    looks = itertools.count(1)
    monkeypatch.setattr(ManifestSource, "read", lambda _source: f"<html>nonce {next(looks)}</html>")
    monkeypatch.setattr(manifest_source, "FILE_EVERY", 0)
    async with opened(release, manifest="manifest.jws", monotonic=lambda: time.monotonic() + later) as boot:
        await until(lambda: next(looks) > 60, what="many looks")
        assert len(events(boot, "manifest.refused")) == 20
        later = 301.0
        await until(lambda: len(events(boot, "manifest.refused")) == 21, what="one more")
        assert events(boot, "manifest.refused")[-1].fields["unaudited_before"] > 0


async def test_a_file_that_is_behind_what_was_put_is_no_fault(release, tmp_path):
    file = tmp_path / "manifest.jws"
    file.write_text(release.sign("v1"))
    async with opened(release, manifest=file) as boot:
        boot.install_manifest(release.sign("v2"), by=BY)
        await asyncio.sleep(0.3)  # a handful of looks
        assert boot.refusal() == "manifest"
        assert events(boot, "manifest.refused") == []
        assert boot.runtime_snapshot().findings == []


@pytest.mark.parametrize(
    ("content", "problem"), [(b"", "empty"), (b"x" * 20_000, "larger than 16 KiB"), (b"\xff", "not a signed")]
)
def test_what_cannot_be_a_manifest_is_not_handed_on(tmp_path, content, problem):
    file = tmp_path / "manifest.jws"
    file.write_bytes(content)
    with pytest.raises(SourceError, match=problem):
        ManifestSource(file).read()


# -- a URL ----------------------------------------------------------------------------------------------------


class Publisher:
    """A web server that answers as a test wants."""

    def __init__(self) -> None:
        self.token = ""
        self.answer = "manifest"
        self.asked = 0
        self.over = threading.Event()
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked += 1
                with contextlib.suppress(OSError):
                    publisher.serve(self)

            def log_message(self, *_args) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/manifest.jws?fleet=tests"

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        if self.answer == "silence":
            self.over.wait(30)
            return
        if self.answer == "drip":
            request.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.over.wait(0.1):
                request.wfile.write(b"X-More: 1\r\n")
            return
        request.send_response({"missing": 404, "moved": 302}.get(self.answer, 200))
        if self.answer == "moved":
            request.send_header("Location", self.url)
        request.end_headers()
        if self.answer == "part":
            request.wfile.write(self.token[:20].encode())
            self.over.wait(30)
        if self.answer == "flood":
            while not self.over.is_set():
                request.wfile.write(b"x" * 65_536)
        request.wfile.write(self.token.encode())

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def publisher():
    publisher = Publisher()
    yield publisher
    publisher.close()


async def test_a_url_is_read_again_and_again(release, publisher):
    publisher.token = release.sign("v2")
    async with opened(release, manifest=publisher.url) as boot:
        await until(lambda: boot.refusal() == "manifest", what="the first manifest")
        publisher.token = release.sign("v1") + "\n"
        await until(lambda: boot.refusal() is None, what="the second manifest")
        assert {event.fields["source"] for event in events(boot, "manifest.accepted")} == {"url"}


@pytest.mark.parametrize("answer", ["missing", "moved", "flood", "silence", "drip"])
async def test_a_url_that_fails_keeps_the_newest_one_and_holds_up_neither_the_loop_nor_the_start(
    release, publisher, monkeypatch, answer
):
    monkeypatch.setattr(manifest_source, "URL_SECONDS", 0.6)
    publisher.token = release.sign("v2")
    async with opened(release, manifest=publisher.url) as boot:
        await until(lambda: boot.refusal() == "manifest", what="the manifest")
        publisher.answer = answer
        await until(lambda: "manifest_unreadable" in boot.runtime_snapshot().findings, what="the finding")
        assert boot.refusal() == "manifest"
        publisher.answer, publisher.token = "manifest", release.sign("v1")
        await until(lambda: boot.refusal() is None, what="the recovery")


@pytest.mark.parametrize("answer", ["silence", "drip", "part"])
def test_a_url_that_is_late_is_called_late_and_what_came_of_it_is_no_manifest(
    release, publisher, monkeypatch, answer
):
    """It is our side that hangs up: "the remote end closed" would send people to the wrong place."""
    monkeypatch.setattr(manifest_source, "URL_SECONDS", 0.4)
    publisher.answer, publisher.token = answer, release.sign("v1")
    with pytest.raises(SourceError, match=r"no answer within 0.4 s"):
        ManifestSource(publisher.url).read()


async def test_a_worker_starts_though_its_url_is_silent(release, publisher, monkeypatch):
    monkeypatch.setattr(gatekeeper, "FIRST_LOOK", 0.2)
    publisher.answer = "silence"
    began = time.monotonic()
    async with opened(release, manifest=publisher.url, manifest_required=True) as boot:
        assert time.monotonic() - began < 5
        await until(lambda: publisher.asked == 1, what="the request")
        assert boot.refusal() == "manifest"


async def test_a_look_that_hangs_is_a_finding_and_never_a_second_thread(release, tmp_path, monkeypatch):
    """A file system may hang for ever; then one thread hangs with it, and the newest manifest holds."""
    monkeypatch.setattr(gatekeeper, "PATIENCE", 0.2)
    monkeypatch.setattr(gatekeeper, "FIRST_LOOK", 0.1)
    hang, reads = threading.Event(), []

    def read(self) -> str:
        reads.append(1)
        hang.wait(30)
        raise SourceError("gone")

    monkeypatch.setattr(ManifestSource, "read", read)
    async with opened(release, manifest=tmp_path / "manifest.jws") as boot:
        await until(lambda: "manifest_unreadable" in boot.runtime_snapshot().findings, what="the finding")
        await asyncio.sleep(0.3)
        assert len(reads) == 1
        hang.set()


# -- belonging ------------------------------------------------------------------------------------------------


async def test_every_snapshot_carries_a_fresh_claim_that_the_fleet_s_master_verifies(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(derive_version_secret("the master", "v1") + "\n")
    secret.chmod(0o600)
    environ = {"OPENRTC_FLEET": "tests", "OPENRTC_MEMBERSHIP_SECRET_FILE": str(secret), "OPENRTC_WORKER_ID": "w1"}
    async with opened(environ=environ) as boot:
        first = boot.runtime_snapshot()
        second = boot.runtime_snapshot()
        assert first.fleet == "tests"
        assert (first.membership.version, first.membership.worker_id) == ("v1", "w1")
        assert first.timestamp == first.membership.timestamp < second.membership.timestamp
        verifier = FleetVerifier(masters=["the master"])
        for shown in (first, second):
            claim = shown.membership
            verifier.verify(
                token=claim.token, version=claim.version, worker_id=claim.worker_id, timestamp=claim.timestamp
            )
            with pytest.raises(MembershipError):
                verifier.verify(token=claim.token, version="v2", worker_id=claim.worker_id, timestamp=claim.timestamp)
        assert derive_version_secret("the master", "v1") not in json.dumps(first.to_dict())


async def test_a_worker_without_a_secret_claims_nothing():
    async with opened() as boot:
        assert boot.runtime_snapshot().membership is None
        assert boot.runtime_snapshot().fleet is None


async def test_settings_come_from_the_environment_and_arguments_win(release, tmp_path):
    environ = {
        "OPENRTC_FLEET": "elsewhere",
        "OPENRTC_RELEASE_KEYS": release.keys,
        "OPENRTC_MANIFEST": str(tmp_path / "manifest.jws"),
        "OPENRTC_MANIFEST_REQUIRED": "1",
    }
    async with opened(environ=environ, fleet=FLEET) as boot:
        shown = boot.runtime_snapshot()
        assert (shown.fleet, shown.manifest.allows) == (FLEET, False)
        assert shown.findings == ["manifest_unreadable"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"manifest_required": True}, "OPENRTC_RELEASE_KEYS"),
        ({"manifest": "manifest.jws"}, "OPENRTC_RELEASE_KEYS"),
        ({"release_keys": "keys"}, "OPENRTC_FLEET"),
        ({"fleet": ""}, "1 to 64"),
        ({"fleet": "a\nb"}, "1 to 64"),
        ({"membership_secret": " "}, "membership_secret"),
        ({"fleet": "f", "release_keys": "keys", "manifest": "s3://bucket/manifest"}, "https://"),
        ({"fleet": "f", "release_keys": "keys", "manifest": "https://alice:pw@host/m"}, "password"),
        ({"fleet": "f", "release_keys": "keys", "manifest": "http://[::1/m"}, "https://"),
    ],
)
def test_a_setting_that_can_never_work_is_said_where_the_worker_is_made(arguments, message):
    with pytest.raises(ValueError, match=message):
        Boot(WorkerSettings(deployment_version="v1", **arguments), FakeLiveKitSide(), environ={})


def test_a_flag_of_the_environment_says_yes_or_no():
    with pytest.raises(ValueError, match="OPENRTC_MANIFEST_REQUIRED must be 1 or 0"):
        Boot(WorkerSettings(), FakeLiveKitSide(), environ={"OPENRTC_MANIFEST_REQUIRED": "maybe"})


async def fails_to_open(error, match, *, version="v1", environ=None, **settings):
    boot = Boot(
        WorkerSettings(deployment_version=version, control_port=0, **settings),
        FakeLiveKitSide(),
        environ=environ or {},
    )
    with pytest.raises(error, match=match):
        await boot.open()
    await boot.close()


async def test_what_cannot_be_used_is_one_line_at_the_start(tmp_path):
    open_to_all = tmp_path / "secret"
    open_to_all.write_text("secret")
    open_to_all.chmod(0o644)
    empty = tmp_path / "empty"
    empty.write_text("\n")
    empty.chmod(0o600)
    variable = "OPENRTC_MEMBERSHIP_SECRET_FILE"
    await fails_to_open(FleetSetupError, "chmod 600", environ={variable: str(open_to_all)})
    await fails_to_open(FleetSetupError, "empty", environ={variable: str(empty)})
    await fails_to_open(FleetSetupError, "no such file", environ={variable: str(tmp_path / "gone")})
    await fails_to_open(FleetSetupError, "deployment_version", version=None, membership_secret="secret")
    await fails_to_open(ControlError, "OPENRTC_RELEASE_KEYS", fleet="f", release_keys=tmp_path / "gone")


async def test_a_release_key_that_is_no_key_is_left_out_and_named(release, tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    (tmp_path / "release" / "broken.pub.pem").write_text("no key")
    async with opened(release) as boot:
        assert boot.install_manifest(release.sign("v1"), by=BY) == "started"
        (event,) = events(boot, "manifest.refused")
        assert (event.fields["reason"], event.fields["file"]) == ("unreadable_key_file", "broken.pub.pem")
        assert "release keys" in caplog.text


async def test_a_worker_that_can_start_no_thread_says_once_that_it_cannot_look(
    release, tmp_path, monkeypatch, caplog
):
    """At its limit of processes; the newest manifest that is known holds."""
    monkeypatch.setattr(manifest_source, "FILE_EVERY", 0.02)
    published = tmp_path / "manifest.jws"
    published.write_text(release.sign("v2"))
    async with opened(release, manifest=published) as boot:
        start_really, looks = threading.Thread.start, []

        def at_its_limit(thread: threading.Thread) -> None:
            if thread.name != "openrtc-manifest":
                start_really(thread)
                return
            looks.append(thread)
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as limited:
            limited.setattr(threading.Thread, "start", at_its_limit)
            await until(lambda: "manifest_unreadable" in boot.runtime_snapshot().findings, what="the finding")
            await until(lambda: len(looks) > 5, what="further looks")
        assert boot.refusal() == "manifest"
        await until(lambda: boot.runtime_snapshot().findings == [], what="the recovery")
    assert caplog.text.count("can't start new thread") == 1
