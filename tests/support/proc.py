"""What the kernel knows of processes, from /proc: Linux only."""

from __future__ import annotations

from pathlib import Path


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def addresses_of(pid: int) -> set[str]:
    """The IPv4 and IPv6 addresses that a process listens on (TCP) or is bound to (UDP), from /proc."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            listens = fields[3] == ("0A" if table.startswith("tcp") else "07")
            if fields[9] in inodes and listens:
                found.add(_readable(fields[1]))
    return found


def _readable(address: str) -> str:
    host, _, port = address.partition(":")
    if host == "0100007F":
        return f"127.0.0.1:{int(port, 16)}"
    return f"{host}:{int(port, 16)}"
