"""What a file of evidence needs of a disk: opened safely, written whole, durable, one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Final

from openrtc_worker.contract.chain.line import ChainError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700

# Not blocking, or a FIFO of this name would hold us for ever; no link at the end, or whoever may write the folder
# would choose the file that we write.
_SAFELY: Final = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW

_HINTS: Final = {
    errno.ENOSPC: "free some space, then try again",
    errno.EDQUOT: "free some space, then try again",
    errno.EFBIG: "raise the limit of file sizes, then try again",
    errno.EROFS: "name a file on a disk that can be written",
    errno.EACCES: "name a file that this user may write",
    errno.EPERM: "name a file that this user may write",
    errno.ELOOP: "name the file itself",
}


def error_of(path: Path, error: OSError) -> ChainError:
    """*error* at *path* in one line for people, with what to do where one thing helps."""
    why = "is a symbolic link" if error.errno == errno.ELOOP else (error.strerror or str(error)).lower()
    hint = _HINTS.get(error.errno or 0)
    return ChainError(f"{path}: {why}" + (f"; {hint}" if hint else ""))


def open_for_writing(path: Path, flags: int) -> int:
    """A descriptor of the regular file *path*, which nobody else may write; made with 0600 when *flags* say so.

    Raises:
        ChainError: it is no such file.
        OSError: as from ``os.open``.
    """
    descriptor = os.open(path, flags | _SAFELY, FILE_MODE)
    status = os.fstat(descriptor)
    problem = None
    if not stat.S_ISREG(status.st_mode):
        problem = "not a regular file"
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        problem = "others can write it: chmod 600 it"
    if problem is not None:
        os.close(descriptor)
        raise ChainError(f"{path}: {problem}")
    return descriptor


def make_folder(folder: Path) -> None:
    """Make *folder* and those above it, for this user only, so that they survive a power loss."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=FOLDER_MODE, exist_ok=True)
        sync_folder(each.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; a disk may take them in parts."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def make_durable(descriptor: int) -> None:
    """Return when what was written would survive a power loss."""
    full = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync leaves it in the drive's own cache
    if full is not None:
        with contextlib.suppress(OSError):  # not every file system knows it
            fcntl.fcntl(descriptor, full)
            return
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable: a new or renamed file can vanish in a power loss otherwise."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # a file system that syncs no folders
            raise
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Put *data* in place of *path* in one durable step: a crash leaves the old file or the new one."""
    fresh = path.with_name(f"{path.name}.new")
    descriptor = open_for_writing(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(descriptor, data)
        make_durable(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(path)
    sync_folder(path.parent)


def acquire_lock(path: Path, *, guarded: Path, tries: int, pause: Callable[[], None]) -> int:
    """The descriptor of *path*, locked until it is closed; a process that dies gives the lock back.

    Args:
        path: the lock file; made when it is missing, never removed.
        guarded: the file that the lock stands for, for the message.
        tries: how often a lock that another holds is asked for.
        pause: waits between two tries.

    Raises:
        ChainError: another process holds it.
        OSError: the lock file cannot be made.
    """
    while True:
        descriptor = open_for_writing(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            tries -= 1
            if tries <= 0:
                who = f" (pid {holder})" if holder.isdecimal() else ""
                raise ChainError(f"{guarded}: another process{who} writes it; each needs a file of its own") from None
            pause()
            continue
        except BaseException:
            os.close(descriptor)
            raise
        if _is_file_of(descriptor, path):
            with contextlib.suppress(OSError):  # on a full disk the lock holds without telling who has it
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
            return descriptor
        os.close(descriptor)  # somebody removed the lock file in between: the lock of its successor counts


def _is_file_of(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
