"""``openrtc-tui init``: a commented fleet file to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.commands.exits import CommandError, Exit

if TYPE_CHECKING:
    import argparse

TEMPLATE: Final = """\
# The fleet that openrtc-tui watches. `openrtc-tui check FILE` tells what is wrong with it; while the dashboard runs,
# a valid change is taken over at once.
fleet: voice

# Each worker's control endpoint: its address alone, or a mapping.
workers:
  - http://127.0.0.1:9464
  # - {name: voice-a-2, url: https://10.0.0.12:9464, region: eu-west, tls: {ca: ca.pem}}

# Who drains and cordons. `openrtc-tui keys new alice` makes the key; the workers need alice.pub.pem.
# operator: {name: alice, key_file: ~/.config/openrtc/alice.pem}

# Watch only, ask nothing of any worker.
# read_only: true

# How often the screen looks, and workers without an event stream are polled: 200ms to 30s.
# refresh: 1s

# The workers' read token, from the environment or from a file that only you can read; never the token itself.
# read_token_env: VOICE_READ_TOKEN
# read_token_file: ~/.config/openrtc/read-token

# For https: whom to trust, and a client certificate where workers ask for one.
# tls: {ca: ca.pem, cert: me.pem, key: me.key}

# The rollout. Without this it is inferred from the two versions that are alive. Quote what YAML takes for a number.
# rollout: {from: "1.9", to: "1.10"}

# What is left of a drained worker's calls after this time is cut. The worker's own limit holds where it is shorter.
# Many are drained so many at a time.
# drain: {timeout: 1h, wave: 5}

# Who belongs. Each worker signs with the secret of its version, made from a master that only you have; who cannot is
# shown as foreign and never counted on. While you change the master, name both; {file: PATH} reads one from a file.
# membership: {masters: [{env: VOICE_MEMBERSHIP_MASTER}]}

# Which versions take new calls, signed with the release key. `openrtc-tui keys new release` makes it; the workers
# need release.pub.pem. The manifest is put to each worker, or handed on, with {file: PATH} or {exec: [PROGRAM]}.
# manifest: {key_file: ~/.config/openrtc/release.pem, publish: put}

# Who starts a version to go back to that is not running. This, {exec: [./rollback.sh, "{to}"]} where any program does
# it, or a service with {webhook: {url: "https://ci.example.com/rollback", key_file: webhook.pem}}.
# rollback: {kubernetes: {namespace: voice, deployment: voice-worker}}
"""


def run(args: argparse.Namespace) -> int:
    """Write the template to stdout or into a new file."""
    if args.path in {None, "-"}:
        print(TEMPLATE, end="")
        return Exit.DONE
    try:
        with open(args.path, "x", encoding="utf-8") as file:  # noqa: PTH123 - a name from the command line
            file.write(TEMPLATE)
    except FileExistsError:
        raise CommandError(f"{args.path}: exists already, and is never overwritten") from None
    except OSError as error:
        raise CommandError(f"{args.path}: {(error.strerror or str(error)).lower()}") from None
    print(f"{args.path}: written; next: put your workers in, then `openrtc-tui {args.path}`")
    return Exit.DONE
