"""A YAML document as a tree of nodes with their lines, and what was found while walking it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from pathlib import Path

MAX_DEPTH: Final = 16
"""Nesting that a document may have. libyaml's composer ends the process on deep nesting, so it is checked first."""

_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times as fast, where it exists
_TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with a file. ``line`` counts from 1."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that the document names; ``secret`` tells which rule its permissions are held to."""

    where: str
    line: int
    path: Path
    secret: bool


@dataclass(frozen=True, slots=True)
class NamedVariable:
    """An environment variable that the document names."""

    where: str
    line: int
    name: str


@dataclass
class Reading:
    """One pass over one document: where it stands, and what was found on the way."""

    path: str
    directory: Path
    problems: list[Problem] = field(default_factory=list)
    files: list[NamedFile] = field(default_factory=list)
    variables: list[NamedVariable] = field(default_factory=list)

    def problem(self, line: int, message: str) -> None:
        self.problems.append(Problem(self.path, line, message))

    def mismatch(self, node: yaml.Node, where: str, expected: str) -> None:
        self.problem(line_of(node), f"{where}: expected {expected}, got {describe(node)}")


def line_of(node: yaml.Node) -> int:
    """The line that *node* begins in, counted from 1."""
    return int(node.start_mark.line) + 1


def compose(text: str, reading: Reading) -> yaml.Node | None:
    """The root node of *text*; None when there is none, or after a problem was told."""
    unprintable = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if unprintable:
        line = text.count("\n", 0, unprintable.start()) + 1
        reading.problem(line, f"the character {unprintable[0]!a} has no place in YAML")
        return None
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else 1
                reading.problem(line, f"nested more than {MAX_DEPTH} deep")
                return None
        root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        reading.problem(mark.line + 1 if mark else 1, f"not valid YAML: {printable(what)}")
        return None
    return root


def describe(node: yaml.Node) -> str:
    """What stands there, in words."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    text = printable(str(node.value), 40)
    kinds = {
        "null": "nothing",
        "int": f"the number {text}",
        "float": f"the number {text}",
        "bool": f"the truth value {text}",
        "timestamp": f"the date {text}",
        "str": f'"{text}"',
    }
    return kinds.get(node.tag.removeprefix(_TAG), f"a value of the tag {printable(node.tag, 40)}")


def is_scalar(node: yaml.Node, *kinds: str) -> bool:
    """Whether *node* is a single value that YAML takes for one of *kinds*: ``str``, ``int``, ``bool`` and so on."""
    return isinstance(node, yaml.ScalarNode) and node.tag.removeprefix(_TAG) in kinds
