"""Who belongs: the masters that a fleet file names, made into a verifier. The masters themselves stay in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from openrtc_tui.fleet_file import FleetFileError, Problem
from openrtc_worker.contract.keys import KeyFileError, read_secret_file
from openrtc_worker.contract.membership import FleetVerifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openrtc_tui.fleet_specs import FleetFile, SecretRef

LEAST: Final = 16
"""Characters of a master. Whoever guesses it can sign for every version, and checks guesses against any token."""


def verifier_of(fleet: FleetFile, environ: Mapping[str, str] = os.environ) -> FleetVerifier | None:
    """What checks the membership of the fleet's workers; None where the file names no masters.

    Raises:
        FleetFileError: a master cannot be read, is empty or too short; what it is stands in no message.
    """
    if fleet.membership is None:
        return None
    return FleetVerifier(masters=[read_master(reference, environ) for reference in fleet.membership.masters])


def read_master(reference: SecretRef, environ: Mapping[str, str] = os.environ) -> str:
    """The secret, without the spaces and line ends around it. Raises FleetFileError."""
    try:
        if reference.file is not None:
            text = read_secret_file(reference.file).decode("utf-8").strip()
        else:
            text = environ.get(reference.env or "", "").strip()
    except KeyFileError as error:
        raise _refused(reference, error.problem) from None
    except UnicodeDecodeError:
        raise _refused(reference, "not UTF-8 text") from None
    if not text:
        raise _refused(reference, "empty")
    if len(text) < LEAST:
        raise _refused(
            reference,
            f"it has {len(text)} characters and could be guessed, at least {LEAST} are needed: make one with"
            " python -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return text


def _refused(reference: SecretRef, problem: str) -> FleetFileError:
    return FleetFileError((Problem(str(reference), 1, f"the membership master cannot be used: {problem}"),))
