"""Targets from the fleet file, and the file followed while it is edited."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from watchfiles import awatch

from openrtc_tui.fleet_file import FleetFile, FleetFileError, Problem, load_fleet_file
from openrtc_tui.http import Access
from openrtc_tui.state.observation import Target

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
    from pathlib import Path

LOOK_EVERY: Final = 2.0
"""Seconds between looks at the file where the system tells of no change: network file systems, replaced folders."""

SETTLE: Final = 0.2
"""Seconds that a changed file must stay as it is before it is read: half a file can be valid YAML."""

_MOST_SETTLES: Final = 25
_MAX_TOKEN: Final = 4_096

_KEPT: Final = ("operator", "read_token_env", "read_token_file", "tls", "membership", "manifest", "rollback")
"""What is not taken over while running: who acts, secrets, and programs that are run."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A change of the fleet file that is valid. ``fleet`` is what holds now.

    ``restart_to_apply`` names what was changed and is *not* taken over while running: who the operator is, the files
    that secrets and certificates come from, and who is asked to roll back.
    """

    fleet: FleetFile
    restart_to_apply: tuple[str, ...] = ()


def targets_of(fleet: FleetFile) -> tuple[Target, ...]:
    """The workers to watch, in the file's order."""
    return tuple(Target(worker.key, worker.url, worker.region) for worker in fleet.workers)


def access_of(fleet: FleetFile, environ: Mapping[str, str] = os.environ) -> Callable[[str], Access | None]:
    """How each worker, by its key, is reached: its own TLS files or the fleet's, and the read token.

    Raises:
        FleetFileError: the read token cannot be read or is none.
    """
    token = _read_token(fleet, environ)
    tls = {worker.key: worker.tls for worker in fleet.workers if worker.tls}
    common = Access(*_tls_files(fleet), token)
    own = {key: Access(spec.ca, spec.cert, spec.key, token) for key, spec in tls.items()}
    return lambda key: own.get(key, common)


def _tls_files(fleet: FleetFile) -> tuple[Path | None, Path | None, Path | None]:
    return (fleet.tls.ca, fleet.tls.cert, fleet.tls.key) if fleet.tls else (None, None, None)


def _read_token(fleet: FleetFile, environ: Mapping[str, str]) -> str | None:
    if fleet.read_token_env:
        source, token = f"${fleet.read_token_env}", environ.get(fleet.read_token_env, "")
    elif fleet.read_token_file:
        source = str(fleet.read_token_file)
        try:
            with fleet.read_token_file.open(encoding="utf-8") as file:
                token = file.read(_MAX_TOKEN + 1)
        except (OSError, UnicodeDecodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "not text"
            raise FleetFileError((Problem(source, 1, f"the read token cannot be read: {what}"),)) from None
    else:
        return None
    token = token.strip()
    if not 0 < len(token) <= _MAX_TOKEN or any(not "!" <= character <= "~" for character in token):
        raise FleetFileError((Problem(source, 1, "no read token: expected printable ASCII without spaces"),))
    return token


async def follow(
    first: FleetFile,
    *,
    on_change: Callable[[Edited], None],
    on_error: Callable[[FleetFileError], None],
    acting: bool = True,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Tell of every change of the file that *first* was loaded from, until cancelled.

    ``on_change`` gets each valid change, also the one that repairs a file; ``on_error`` each new set of problems:
    the last good file then still holds. A file that is gone is such a problem, its return a repair. Comments and
    spaces are no change.
    """
    last = Edited(first)
    wrong: FleetFileError | None = None
    seen = None  # not yet looked at: the file may have changed since *first* was loaded
    async with aclosing(_wakes(first.path, sleep)) as wakes:
        async for _ in wakes:
            # with a problem on screen each wake looks again: its cause may lie in a file that this one names
            if wrong is None and seen is not None and _stamp(first.path) == seen:
                continue
            seen = await _settled(first.path, sleep)
            try:
                new = await asyncio.to_thread(load_fleet_file, first.path, acting=acting)
            except FleetFileError as error:
                if wrong is None or error.problems != wrong.problems:
                    on_error(error)
                wrong = error
                continue
            edited = _taken_over(new, last.fleet)
            if wrong is not None or edited != last:
                on_change(edited)
            last, wrong = edited, None


def _taken_over(new: FleetFile, running: FleetFile) -> Edited:
    """What of *new* holds at once; the rest stays as it is *running*."""
    kept = [name for name in _KEPT if _differs(name, new, running)]
    if running.read_only and not new.read_only:
        kept.append("read_only")  # no key was loaded when it started; the other way it holds at once
    known = {worker.key: worker for worker in running.workers}
    workers = []
    for worker in new.workers:
        before = known.get(worker.key)
        if before and before.tls != worker.tls:
            kept.append(f"tls of {worker.key}")
        workers.append(replace(worker, tls=before.tls) if before else worker)
    fleet = replace(
        new,
        operator=running.operator,
        read_token_env=running.read_token_env,
        read_token_file=running.read_token_file,
        tls=running.tls,
        membership=running.membership,
        manifest=running.manifest,
        rollback=running.rollback,
        read_only=new.read_only or running.read_only,
        workers=tuple(workers),
    )
    return Edited(fleet, tuple(kept))


def _differs(name: str, new: FleetFile, running: FleetFile) -> bool:
    return bool(getattr(new, name) != getattr(running, name))


_Stamp = tuple[int, ...]


def _stamp(path: Path) -> _Stamp:
    """What changes when the file does; empty when it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


async def _settled(path: Path, sleep: Callable[[float], Awaitable[None]]) -> _Stamp:
    """Wait until the file stays as it is; one that never does is read all the same."""
    stamp = _stamp(path)
    for _ in range(_MOST_SETTLES):
        await sleep(SETTLE)
        before, stamp = stamp, _stamp(path)
        if stamp == before:
            break
    return stamp


def _folders(path: Path) -> set[Path]:
    """Where the file stands, and where it really is if that is a link."""
    return {path.absolute().parent, path.resolve().parent}


async def _wakes(path: Path, sleep: Callable[[float], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """Once at the start, at every change near *path*, and every few seconds.

    The folders are watched and not the file: an editor replaces it, and then the old file would be watched.
    """
    yield
    while True:
        try:
            changes = awatch(
                *_folders(path),
                watch_filter=None,
                recursive=False,
                rust_timeout=int(LOOK_EVERY * 1_000),
                yield_on_timeout=True,
            )
            async with aclosing(changes):
                async for _ in changes:
                    yield
        except (OSError, RuntimeError):
            # no such folder for now, or the system has no watches left: looking now and then is enough
            await sleep(LOOK_EVERY)
            yield
