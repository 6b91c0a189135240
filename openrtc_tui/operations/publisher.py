"""Publishes manifests: reads every worker again, signs the next number, and gives it to each of them.

The workers that it opens are asked first. Only when those have it, as far as they are needed, and a moment later, are
the others closed: a manifest that the good version would not take must never leave callers with nobody.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from openrtc_tui.fleet_specs import PublishExec, PublishFile
from openrtc_tui.operations.capacity import agent_words, is_ours, is_ready, may_accept
from openrtc_tui.operations.history import TAKEN, Publication
from openrtc_tui.operations.outlets import OutletError, outlet_of
from openrtc_tui.operations.plans.interlocks import left_without
from openrtc_tui.operations.plans.progress import MANIFEST_SEQ
from openrtc_tui.operations.plans.sight import is_living, names, newest_manifest
from openrtc_tui.operations.request import Ask, new_op_id
from openrtc_worker.contract.keys import load_private_key
from openrtc_worker.contract.manifest import MAX_ACTIVE, Manifest, sign_manifest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from openrtc_tui.fleet_specs import ManifestSpec
    from openrtc_tui.operations.batch import BatchResult
    from openrtc_tui.operations.history import Put
    from openrtc_tui.operations.request import Answer, Outcome
    from openrtc_tui.state.peers import Agent
    from openrtc_tui.state.view import FleetView, WorkerRow
    from openrtc_worker.contract.snapshot import RuntimeSnapshot

WIDTH: Final = 16
"""Workers that are read or asked at one time."""

SETTLE: Final = 0.5
"""Seconds between the last yes of those that are opened and the first request to those that are closed: a worker
answers before LiveKit has heard its new load, and whoever calls in between would find nobody."""

_CONFLICTS: Final = frozenset({"conflict", "seq"})
"""A worker's reasons that mean: somebody else published meanwhile."""


class PublishRefused(Exception):  # noqa: N818 - an outcome of a plan, told in its words
    """Nothing was published, on purpose; one line for people."""


class Hands(Protocol):
    """What a publisher needs of a watched fleet (:class:`openrtc_tui.live.LiveFleet`)."""

    def view(self) -> FleetView: ...

    async def look(self, key: str) -> RuntimeSnapshot | None: ...

    async def send(
        self, asks: Sequence[Ask], on_answer: Callable[[Answer], None] | None = None, *, width: int, all_of_them: bool
    ) -> BatchResult: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What came of a publication. ``detail`` is one line for people; ``taken`` of ``asked`` workers have it."""

    outcome: Outcome
    detail: str
    taken: int = 0
    asked: int = 0


class Publisher:
    """Publishes in the name of one operator, with the fleet's release key.

    Args:
        spec: the release key and where manifests go.
        hands: the fleet.
        fleet: its name, as the manifests say it.
        operator: who issues them.
        folder: where a program that publishes runs.
        clock: Unix seconds.
        sleep: waits for seconds.

    Raises:
        KeyFileError: the release key cannot be used.
    """

    def __init__(
        self,
        spec: ManifestSpec,
        *,
        hands: Hands,
        fleet: str,
        operator: str,
        folder: Path,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._key: Ed25519PrivateKey = load_private_key(spec.key_file)
        self._kid = spec.key_file.stem
        self._hands = hands
        self._fleet = fleet
        self._operator = operator
        self._clock = clock
        self._sleep = sleep
        publish = spec.publish
        self._outlet = outlet_of(publish, folder=folder) if isinstance(publish, (PublishFile, PublishExec)) else None

    @property
    def puts(self) -> bool:
        """Whether workers are given manifests directly."""
        return self._outlet is None

    async def newest(self) -> int:
        """The highest ``seq`` that anybody of the fleet shows when all are asked now; 0 when none does.

        Raises:
            PublishRefused: what is published now cannot be read.
        """
        rows = [row for row in self._hands.view().rows if not row.closed]
        gate = asyncio.Semaphore(WIDTH)

        async def look(row: WorkerRow) -> None:
            async with gate:
                await self._hands.look(row.key)

        await asyncio.gather(*map(look, rows))
        held = newest_manifest(self._hands.view())
        return max(held.seq if held is not None else 0, await self._seq_there())

    async def draft(self, active: Sequence[str], *, op_id: str, known: int, expected: int | None) -> Publication:
        """The next manifest, signed; nothing is published yet.

        Args:
            active: the versions that may take new calls.
            op_id: identity of the publication.
            known: the highest ``seq`` that the journal knows of.
            expected: the highest ``seq`` that the operator has seen or published; None: whatever there is.

        Raises:
            PublishRefused: somebody else has published since, or no manifest can be made.
        """
        newest = await self.newest()
        if expected is not None and newest > expected:
            raise PublishRefused(f"{self._who_shows(newest)}: look again, then decide anew")
        if len(active) > MAX_ACTIVE:
            raise PublishRefused(f"a manifest names at most {MAX_ACTIVE} versions")
        manifest = Manifest(
            fleet=self._fleet,
            seq=max(newest, known) + 1,
            active=tuple(active),
            issued_at=self._clock(),
            issued_by=self._operator,
        )
        token = sign_manifest(manifest, private_key=self._key, kid=self._kid)
        return Publication(op_id=op_id, seq=manifest.seq, active=manifest.active, token=token)

    async def publish(
        self,
        publication: Publication,
        *,
        plan_id: str,
        reason: str | None = None,
        puts: Mapping[str, Put] | None = None,
        anyhow: Collection[Agent] = (),
        unfit: Callable[[], str] = lambda: "",
    ) -> Published:
        """Bring *publication* to every worker, or to where the fleet file says. Raises PermissionError.

        Args:
            publication: journaled.
            plan_id: the plan that it belongs to.
            reason: for the audit.
            puts: for one that was begun in an earlier life: the boots that were asked then, by ``boot_id``. Then
                the workers are read again first, and a manifest that was overtaken is not published.
            anyhow: agents whose workers are closed even when nobody who opens could be reached.
            unfit: why it must not be published as the fleet is now; asked for when the workers were read again, as
                long as none of them shows it.
        """
        newest = 0
        if puts is not None:
            try:
                newest = await self.newest()
            except PublishRefused as refusal:
                return Published(outcome="unknown", detail=str(refusal))
            if newest > publication.seq:
                return Published(outcome="refused", detail=self._who_shows(newest))
        why = unfit() if newest < publication.seq else ""
        if why:  # of a program that was run in an earlier life nobody knows what it did
            ran = puts is not None and self._outlet is not None
            return Published(outcome="unknown" if ran else "refused", detail=why)
        if self._outlet is not None:
            outcome, detail = await self._outlet.publish(publication.token)
            return Published(outcome=outcome, detail=f"manifest {publication.seq} {detail}", asked=1)
        return await self._put_all(publication, plan_id, reason, puts or {}, anyhow=anyhow)

    async def put(self, publication: Publication, rows: Sequence[WorkerRow], puts: Mapping[str, Put]) -> BatchResult:
        """Give it once more to *rows*, which do not show it. Raises PermissionError.

        *puts* are those of an earlier life that nobody knows the outcome of, by ``boot_id``.
        """
        asks = [_ask(publication, row, None, None, puts) for row in rows]
        return await self._hands.send(asks, width=WIDTH, all_of_them=True)

    async def _put_all(
        self,
        publication: Publication,
        plan_id: str,
        reason: str | None,
        puts: Mapping[str, Put],
        *,
        anyhow: Collection[Agent],
    ) -> Published:
        rows = [row for row in self._hands.view().rows if is_living(row) and is_ours(row) and row.worker_id]
        if not rows:
            return Published(outcome="unreached", detail="no worker is there to be given the manifest")
        opened = [row for row in rows if row.version in publication.active]
        closed = [row for row in rows if row.version not in publication.active]
        had = {boot_id for boot_id, put in puts.items() if put.outcome in TAKEN}
        had &= {row.boot_id for row in rows if row.boot_id is not None}
        first = await self._ask(publication, [row for row in opened if row.boot_id not in had], plan_id, reason, puts)
        took = had | {answer.ask.boot_id for answer in first if answer.done}
        losing = [row for row in closed if may_accept(row)]
        left = left_without(losing, [row for row in opened if row.boot_id in took and is_ready(row)])
        alone = [agent for agent in left if agent not in anyhow]
        if alone and publication.active:
            why = f"nobody ready {'; '.join(map(agent_words, alone))} took manifest {publication.seq}"
            return _result(publication, first, len(had), len(rows), f"{why}: the other version was left as it is")
        closing = [row for row in closed if row.boot_id not in had]
        if closing and any(answer.done for answer in first):
            await self._sleep(SETTLE)
        second = await self._ask(publication, closing, plan_id, reason, puts)
        return _result(publication, [*first, *second], len(had), len(rows))

    async def _ask(
        self,
        publication: Publication,
        rows: Sequence[WorkerRow],
        plan_id: str,
        reason: str | None,
        puts: Mapping[str, Put],
    ) -> Sequence[Answer]:
        if not rows:
            return ()
        asks = [_ask(publication, row, plan_id, reason, puts) for row in rows]
        return (await self._hands.send(asks, width=WIDTH, all_of_them=True)).answers

    def _who_shows(self, seq: int) -> str:
        """What changed, in words: who shows the manifest *seq*, and what it names."""
        rows = [row for row in self._hands.view().rows if _seq_of(row) == seq and is_ours(row)]
        held = newest_manifest(self._hands.view())
        if held is None or held.seq != seq:
            return f"manifest {seq} was published meanwhile"
        named = ", ".join(sorted(held.active)) or "no version"
        return f"manifest {seq}, which names {named}, was published meanwhile: {names(rows)} shows it"

    async def _seq_there(self) -> int:
        if self._outlet is None:
            return 0
        try:
            there = await self._outlet.current()
        except OutletError as error:
            raise PublishRefused(str(error)) from None
        if there is not None and there.fleet != self._fleet:
            raise PublishRefused(f"what is published there is for the fleet {there.fleet!r}, not {self._fleet!r}")
        return there.seq if there is not None else 0


def _result(
    publication: Publication, answers: Sequence[Answer], had: int, asked: int, stopped: str = ""
) -> Published:
    """What *answers* add up to, *had* of *asked* workers having it from an earlier life."""
    taken = had + sum(answer.done for answer in answers)
    summary = f"manifest {publication.seq} taken by {taken} of {asked}"
    words = [summary]
    for outcome, verb in (("refused", "refused by"), ("unreached", "not reached:"), ("unknown", "no answer of")):
        some = [answer for answer in answers if answer.outcome == outcome]
        if some:
            words.append(f"{verb} {', '.join(answer.ask.key for answer in some[:3])} ({some[0].detail})")
    detail = "; ".join(words)
    conflict = next((answer for answer in answers if answer.reason in _CONFLICTS), None)
    if conflict is not None:
        detail = f"{conflict.ask.key} has another: {conflict.detail}; {summary}"
        return Published(outcome="refused", detail=detail, taken=taken, asked=asked)
    if stopped:
        return Published(outcome="refused", detail=f"{stopped}; {detail}", taken=taken, asked=asked)
    outcomes = {answer.outcome for answer in answers}
    said: Outcome = "unreached"
    if taken:
        said = "started"
    elif "unknown" in outcomes:
        said = "unknown"
    elif "refused" in outcomes:
        said = "refused"
    return Published(outcome=said, detail=detail, taken=taken, asked=asked)


def _ask(
    publication: Publication, row: WorkerRow, plan_id: str | None, reason: str | None, puts: Mapping[str, Put]
) -> Ask:
    boot_id = row.boot_id or ""
    note: dict[str, Any] = {"publish": publication.op_id, MANIFEST_SEQ: publication.seq}
    return Ask(
        action="manifest",
        key=row.key,
        url=row.url,
        worker_id=row.worker_id or "",
        boot_id=boot_id,
        op_id=puts[boot_id].op_id if boot_id in puts else new_op_id(),
        reason=reason,
        plan_id=plan_id,
        manifest=publication.token,
        version=row.version,
        calls=row.calls,
        note=note,
        again=boot_id in puts,
    )


def _seq_of(row: WorkerRow) -> int | None:
    held = row.snapshot.manifest if row.snapshot is not None else None
    return held.seq if held is not None else None


def lacking(view: FleetView, publication: Publication) -> list[WorkerRow]:
    """The workers that show an older manifest than *publication*, or none, while it is the newest that there is."""
    held = newest_manifest(view)
    if held is None or held.seq != publication.seq or held.active != frozenset(publication.active):
        return []  # never roll a fleet back, and never take a side between two manifests of one number
    return [
        row
        for row in view.rows
        if is_living(row)
        and is_ours(row)
        and row.worker_id
        and row.snapshot is not None
        and (_seq_of(row) or 0) < publication.seq
    ]
