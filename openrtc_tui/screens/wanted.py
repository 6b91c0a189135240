"""What screens ask of the app: messages, so that no screen knows who answers them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.message import Message

ActionName = Literal["drain", "cordon", "uncordon"]


@dataclass
class ActionWanted(Message):
    """The operator wants *action* for these workers, as they were when the key was pressed.

    ``version`` is set when every worker of a version is meant.
    """

    action: ActionName
    keys: tuple[str, ...]
    version: str | None = None


@dataclass
class DetailsWanted(Message):
    """The operator wants to see all about a worker."""

    key: str


class HelpWanted(Message):
    """The operator wants to see every key."""


class ResultsDismissed(Message):
    """The operator has seen the results."""
