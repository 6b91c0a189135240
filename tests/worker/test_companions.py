"""The small companions of the worker core: outbox, audit digest, callers, clock, loop lag, environment."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_worker import environment
from openrtc_worker.callers import CallersOnLine
from openrtc_worker.clock import AnchoredClock
from openrtc_worker.contract import audit
from openrtc_worker.control.target import Requester
from openrtc_worker.environment import platform_info, resident_set
from openrtc_worker.ledger import Call
from openrtc_worker.outbox import Outbox
from openrtc_worker.rejections import AUDITED, PERIOD, RejectionDigest, Rejections
from openrtc_worker.snapshots import LAG_WINDOW, LoopLag
from openrtc_worker.trail import Trail


class TestOutbox:
    def test_before_it_starts_it_runs_at_once_and_afterwards_in_its_thread(self):
        outbox, seen = Outbox("test"), []
        outbox.put(lambda: seen.append(threading.current_thread()))
        outbox.start()
        outbox.put(lambda: seen.append(threading.current_thread()))
        assert outbox.stop(5)
        here = threading.current_thread()
        assert [thread is here for thread in seen] == [True, False]

    @pytest.mark.parametrize("started", [True, False])
    def test_what_comes_after_the_end_is_dropped_and_said(self, caplog, started):
        """A sink that hangs must not hang the loop of a worker that is about to exit."""
        outbox, seen = Outbox("the sink"), []
        if started:
            outbox.start()
        assert outbox.stop(5)
        outbox.start()
        outbox.put(lambda: seen.append(1))
        assert outbox.stop(5)
        assert not seen
        assert outbox.failing
        assert caplog.text.count("the sink has ended") == 1

    def test_it_keeps_the_order_and_finishes_what_was_put(self):
        outbox, seen = Outbox("test"), []
        outbox.start()
        for number in range(500):
            outbox.put(lambda number=number: seen.append(number))
        assert outbox.stop(5)
        assert seen == list(range(500))

    def test_an_error_is_logged_once_and_forgotten_when_it_works_again(self, caplog):
        outbox = Outbox("the sink")
        for _ in range(3):
            outbox.put(lambda: 1 / 0)
        assert outbox.failing
        assert caplog.text.count("the sink failed") == 1
        outbox.put(lambda: None)
        assert not outbox.failing

    def test_one_that_hangs_keeps_nobody(self):
        outbox, release = Outbox("test"), threading.Event()
        outbox.start()
        outbox.put(release.wait)
        assert not outbox.stop(0.05)
        release.set()

    def test_one_that_is_hopelessly_behind_drops_and_says_so(self, caplog, monkeypatch):
        monkeypatch.setattr("openrtc_worker.outbox.CAPACITY", 5)
        outbox, release, running = Outbox("the sink"), threading.Event(), threading.Event()
        outbox.start()
        outbox.put(lambda: (running.set(), release.wait(10)))
        assert running.wait(5)
        for _ in range(6):
            outbox.put(lambda: None)
        assert outbox.failing
        assert "items behind" in caplog.text
        assert not outbox.stop(0.05)
        release.set()


class TestRejectionDigest:
    def test_the_first_is_told_at_once_then_once_a_minute_with_a_count(self):
        digest = RejectionDigest()
        assert digest.refused("unrouted", 0.0) == (Rejections("unrouted", 1),)
        for second in range(1, 50):
            assert digest.refused("unrouted", float(second)) == ()
        assert digest.due(59.9) == ()
        assert digest.due(60.0) == (Rejections("unrouted", 49),)
        assert digest.due(500.0) == ()
        assert digest.refused("unrouted", 501.0) == (Rejections("unrouted", 1),)

    def test_each_reason_has_its_own_minute(self):
        digest = RejectionDigest()
        digest.refused("unrouted", 0.0)
        assert digest.refused("unknown_agent", 1.0) == (Rejections("unknown_agent", 1),)

    def test_what_refuses_as_a_matter_of_course_is_not_audited(self):
        digest = RejectionDigest()
        for reason in ("capacity", "cordoned", "draining", "stale_offer", "user_rejected"):
            assert digest.refused(reason, 0.0) == ()
        assert digest.rest(0.0) == ()

    @given(st.lists(st.tuples(st.sampled_from(sorted(AUDITED)), st.floats(0, 100)), max_size=50))
    def test_every_refusal_is_told_exactly_once(self, refusals):
        digest, now, told, last = RejectionDigest(), 0.0, 0, {}
        for reason, pause in refusals:
            now += pause
            for rejection in digest.refused(reason, now):
                assert now - last.get(rejection.reason, -PERIOD) >= PERIOD
                last[rejection.reason] = now
                told += rejection.count
        told += sum(rejection.count for rejection in digest.rest(now))
        assert told == len(refusals)


class TestCallersOnLine:
    def test_our_own_reconnection_is_no_hangup(self):
        callers = CallersOnLine()
        callers.joined("alice")
        callers.left("alice", reason_known=False)
        assert len(callers) == 1
        callers.recounted(["alice"])
        assert len(callers) == 1
        callers.left("alice", reason_known=False)
        callers.recounted([])  # she left while we were away
        assert len(callers) == 0

    def test_a_departure_with_a_reason_counts(self):
        callers = CallersOnLine()
        callers.joined("alice")
        callers.joined("alice")
        callers.joined("bob")
        callers.left("alice", reason_known=True)
        callers.left("nobody", reason_known=True)
        assert len(callers) == 1


class TestClock:
    def test_it_does_not_follow_a_wall_clock_that_is_set_back(self):
        wall, monotonic = [1_000.0], [5.0]
        clock = AnchoredClock(wall=lambda: wall[0], monotonic=lambda: monotonic[0])
        assert clock() == 1_000.0
        wall[0], monotonic[0] = 400.0, 15.0
        assert clock() == 1_010.0


class TestLoopLag:
    def test_it_is_the_worst_of_the_last_seconds(self):
        lag = LoopLag()
        assert lag.worst(0.0) is None
        lag.seen(0.5, 0.0)
        lag.seen(0.1, 1.0)
        assert lag.worst(1.0) == 0.5
        lag.seen(0.2, LAG_WINDOW + 0.5)
        assert lag.worst(LAG_WINDOW + 0.5) == 0.2

    @given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 9)), min_size=1, max_size=60))
    def test_it_agrees_with_looking_at_all(self, turns):
        lag, now, seen = LoopLag(), 0.0, []
        for pause, late in turns:
            now += pause
            lag.seen(late, now)
            seen.append((now, late))
            inside = [each for at, each in seen if at >= now - LAG_WINDOW]
            assert lag.worst(now) == max(inside)


class TestEnvironment:
    def test_kubernetes_tells_pod_and_node(self):
        shown = platform_info(
            {
                "KUBERNETES_SERVICE_HOST": "10.0.0.1",
                "HOSTNAME": "voice-7f",
                "POD_NAMESPACE": "voice",
                "POD_UID": "u-1",
                "NODE_NAME": "n1\x1b[2J",
                "OPENRTC_GRACE_SECONDS": "3700",
            }
        )
        assert (shown.kind, shown.namespace, shown.pod, shown.uid) == ("kubernetes", "voice", "voice-7f", "u-1")
        assert (shown.node, shown.grace_seconds) == ("n1[2J", 3700.0)

    def test_the_namespace_is_read_from_the_service_account_else(self, tmp_path, monkeypatch):
        file = tmp_path / "namespace"
        monkeypatch.setattr(environment, "_NAMESPACE_FILE", file)
        kubernetes = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
        assert platform_info(kubernetes).namespace is None
        file.write_text("voice\n")
        assert platform_info(kubernetes).namespace == "voice"

    def test_systemd_is_known_by_its_invocation_and_a_shell_by_nothing(self):
        assert platform_info({"INVOCATION_ID": "x"}).kind == "systemd"
        assert platform_info({}) is None
        assert platform_info({"OPENRTC_GRACE_SECONDS": "soon"}) is None
        assert platform_info({"OPENRTC_GRACE_SECONDS": "90"}).grace_seconds == 90.0

    def test_memory_is_measured_where_it_can_be(self, monkeypatch, tmp_path):
        assert resident_set().bytes > 1_000_000
        monkeypatch.setattr(environment, "_STATM", tmp_path / "nothing")
        peak = resident_set()
        assert peak.metric == "peak_rss"
        assert peak.bytes > 1_000_000


class TestTrail:
    def trail(self, sink):
        return Trail(sink, version="v1", boot_id="boot-1", worker_id=lambda: "w1", clock=lambda: 5.0)

    def test_an_event_says_who_where_and_why(self):
        seen = []
        trail = self.trail(seen.append)
        trail.act(audit.WORKER_CORDONED, Requester(source="http", actor="alice", op_id="op-1", kid="alice@2"))
        trail.dropped(audit.CALL_CUT, Call(job_id="job-1", room="room-1"), seconds=3.0)
        first, second = (event.to_dict() for event in seen)
        assert first == {
            "seq": 1,
            "timestamp": 5.0,
            "event": "worker.cordoned",
            "actor": "alice",
            "target": "w1",
            "result": "ok",
            "version": "v1",
            "boot_id": "boot-1",
            "source": "http",
            "op_id": "op-1",
            "kid": "alice@2",
        }
        assert (second["event"], second["room"], second["job"]) == ("call.cut", "room-1", "job-1")

    def test_a_sink_that_raises_reaches_nobody_and_is_a_finding(self):
        def fails(_event):
            raise RuntimeError("down")

        trail = self.trail(fails)
        trail.act(audit.DEPLOYMENT_STARTED)
        assert trail.is_failing
        assert trail.log.last_seq == 1

    def test_a_sink_that_blocks_holds_nobody(self):
        release = threading.Event()
        trail = self.trail(lambda _event: release.wait(10))
        trail.start()
        trail.act(audit.DEPLOYMENT_STARTED)
        trail.stop(0.05)
        release.set()

    @pytest.mark.parametrize("sink", [None])
    def test_without_a_sink_it_is_a_log_line(self, sink, caplog):
        caplog.set_level("INFO")
        self.trail(sink).refused("unrouted")
        assert '"event":"worker.rejected"' in caplog.text
        assert '"reason":"unrouted"' in caplog.text
