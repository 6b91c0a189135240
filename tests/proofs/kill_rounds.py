"""``python -m tests.proofs.kill_rounds FOLDER SEED LIVES``: a writing process that is killed again and again.

Each life is a forked process that does what the operator's side does: it finishes what the life before left open
(observing first), then goes on with new operations: the intent into the journal, the effect, the outcome. It ends by
SIGKILL, at a random moment from outside or in the middle of a random system call. What it was told is written goes
to us through a pipe. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from openrtc_worker.contract.chain import ChainWriter, Word, read_chain, verify_chain

MAX_BYTES = 3_000
CALLS = ("write", "fsync", "ftruncate", "rename", "replace", "open", "close")


class Reaper:
    """Kills this process with SIGKILL in its *countdown*-th system call that touches a file, or in that write."""

    def __init__(self, countdown: int, rng: random.Random) -> None:
        self._rng = rng
        writes_only = rng.random() < 0.4
        self._left = countdown // 6 + 1 if writes_only else countdown
        for name in ("write",) if writes_only else CALLS:
            setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name, call):
        write = os.write

        def watched(*arguments, **options):
            self._left -= 1
            if self._left > 0:
                return call(*arguments, **options)
            if name == "write":
                descriptor, data = arguments
                write(descriptor, data[: self._rng.randint(0, len(data))])
            elif self._rng.random() < 0.5:
                call(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)
            return time.sleep(60)

        return watched


def live(
    folder: Path, acks: int, key: Ed25519PrivateKey | None, reaper: tuple[int, random.Random] | None
) -> NoReturn:
    """One life. *acks* is the pipe to whoever checks; effects are lines of a file that nothing here may repeat."""
    write = os.write
    effects = os.open(folder / "effects", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    if reaper is not None:
        Reaper(*reaper)
    journal = folder / "journal.jsonl"
    writer = ChainWriter(
        journal, exclusive=False, max_bytes=MAX_BYTES, checkpoint_key=key, kid=None if key is None else "alice"
    )

    def tell(event: str, op_id: str) -> None:
        number = writer.append({"event": event, "op_id": op_id, "actor": "alice", "timestamp": time.time()})
        write(acks, f"{number} {event} {op_id}\n".encode())

    def carry_out(op_id: str) -> None:
        done = (folder / "effects").read_text().split()
        if op_id not in done:
            write(effects, f"{op_id}\n".encode())
        tell("op.outcome", op_id)

    open_ops: dict[str, None] = {}
    for record in read_chain(journal):
        if record["event"] == "op.intent":
            open_ops[record["op_id"]] = None
        elif record["event"] == "op.outcome":
            open_ops.pop(record["op_id"])
    for op_id in open_ops:
        carry_out(op_id)
    while True:
        op_id = secrets.token_hex(8)
        tell("op.intent", op_id)
        carry_out(op_id)


def killed_life(folder: Path, rng: random.Random, key: Ed25519PrivateKey) -> list[list[str]]:
    """What one life was told is written."""
    reading, writing = os.pipe()
    signing = key if rng.random() < 0.5 else None
    from_inside = (rng.randrange(1, 90), random.Random(rng.random())) if rng.random() < 0.7 else None
    delay = rng.uniform(0, 0.02)
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            live(folder, writing, signing, from_inside)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(3)
    os.close(writing)
    if from_inside is None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        told = [line.split() for line in pipe]
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == -signal.SIGKILL, f"a life ended by itself: {code}"
    return told


def main(folder: Path, seed: int, lives: int) -> dict[str, int]:
    rng = random.Random(seed)
    key = Ed25519PrivateKey.generate()
    journal = folder / "journal.jsonl"
    acknowledged: dict[int, list[str]] = {}
    words = dict.fromkeys(map(str, Word), 0)
    for _ in range(lives):
        for number, *what in killed_life(folder, rng, key):
            assert int(number) not in acknowledged, f"line {number} was given out twice"
            acknowledged[int(number)] = what
        if not (acknowledged or journal.exists()):
            continue  # killed before there was a file
        there = {each["chain"]: [each["event"], each.get("op_id")] for each in read_chain(journal)}
        missing = {number: what for number, what in acknowledged.items() if there.get(number) != what}
        assert not missing, f"acknowledged, but not in the file: {missing}"
        verdict = verify_chain(journal)
        assert verdict.word is not Word.TAMPERED, verdict
        words[verdict.word] += 1
    with ChainWriter(journal, exclusive=True):
        pass  # moves aside what the last life left unfinished
    verdict = verify_chain(journal)
    assert verdict.is_ok, verdict
    records = list(read_chain(journal))
    assert [each["chain"] for each in records] == list(range(1, len(records) + 1))
    intents = [each["op_id"] for each in records if each["event"] == "op.intent"]
    effects = (folder / "effects").read_text().split()
    assert len(effects) == len(set(effects)), "an operation has two effects"
    assert set(effects) <= set(intents), "an effect without an intent"
    return {
        "kills": lives,
        "acknowledged": len(acknowledged),
        "torn": sum(each["event"] == "audit.torn_line" for each in records),
        "files": len(list(folder.glob("journal.jsonl.[0-9]*"))) + 1,
        "effects": len(effects),
        **words,
    }


if __name__ == "__main__":
    where, number, count = sys.argv[1:]
    print(json.dumps(main(Path(where), int(number), int(count))))
