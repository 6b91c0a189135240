"""YAML read against shapes: every value keeps its line, every problem is told at once, and a JSON Schema falls out.

PyYAML's own loading takes the last of duplicate keys, turns ``1.10`` into 1.1 and forgets lines. So nothing is
loaded here: the node tree of the safe loader is walked, and only scalars of the expected kind become values.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import yaml

from openrtc_tui.durations import DURATION_PATTERN, format_duration, parse_duration
from openrtc_tui.yaml_tree import NamedFile, NamedVariable, Reading, describe, is_scalar, line_of
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_TRUE: Final = frozenset({"yes", "true", "on"})
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Shape(Protocol[T_co]):
    """What a value must look like. ``read`` answers None after it told a problem."""

    def read(self, node: yaml.Node, where: str, reading: Reading) -> T_co | None: ...

    def schema(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Text:
    """A string on one line. ``valid`` answers what is wrong with it, or None."""

    expected: str
    pattern: str = r".{1,256}"
    valid: Callable[[str], str | None] | None = None

    def read(self, node: yaml.Node, where: str, reading: Reading) -> str | None:
        if is_scalar(node, "int", "float", "bool", "timestamp"):
            value = str(node.value)
            hint = f'; put it in quotes: "{printable(value, 40)}"' if re.fullmatch(self.pattern, value) else ""
            got = describe(node)
            reading.problem(line_of(node), f"{where}: expected {self.expected}, but YAML reads {got}{hint}")
            return None
        if not is_scalar(node, "str"):
            reading.mismatch(node, where, self.expected)
            return None
        text: str = node.value
        if not re.fullmatch(self.pattern, text) or printable(text) != text:
            reading.mismatch(node, where, self.expected)
            return None
        wrong = self.valid(text) if self.valid else None
        if wrong:
            reading.problem(line_of(node), f"{where}: {wrong}; expected {self.expected}")
            return None
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{self.pattern}$", "description": self.expected}


@dataclass(frozen=True, slots=True)
class EnvName:
    """The name of an environment variable. What stands there is never repeated: it may be the secret itself."""

    def read(self, node: yaml.Node, where: str, reading: Reading) -> str | None:
        if is_scalar(node, "str") and _ENV_NAME.fullmatch(node.value):
            name = str(node.value)
            reading.variables.append(NamedVariable(where, line_of(node), name))
            return name
        reading.problem(
            line_of(node), f"{where}: expected the name of an environment variable (never the secret itself)"
        )
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{_ENV_NAME.pattern}$"}


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def read(self, node: yaml.Node, where: str, reading: Reading) -> bool | None:
        if is_scalar(node, "bool"):
            return str(node.value).lower() in _TRUE
        reading.mismatch(node, where, "true or false")
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between two bounds."""

    least: int
    most: int

    def read(self, node: yaml.Node, where: str, reading: Reading) -> int | None:
        if is_scalar(node, "int") and re.fullmatch(r"[0-9]{1,9}", node.value):
            number = int(node.value)
            if self.least <= number <= self.most:
                return number
        reading.mismatch(node, where, f"a whole number from {self.least} to {self.most}")
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Duration:
    """A span of time between two bounds, in seconds."""

    least: float
    most: float

    def read(self, node: yaml.Node, where: str, reading: Reading) -> float | None:
        bounds = f"{format_duration(self.least)} to {format_duration(self.most)}"
        expected = f"a time from {bounds}, such as 200ms, 90s, 5m, 1h or a number of seconds"
        if is_scalar(node, "str", "int", "float"):
            try:
                seconds = parse_duration(node.value)
            except ValueError:
                pass
            else:
                if self.least <= seconds <= self.most:
                    return seconds
        reading.mismatch(node, where, expected)
        return None

    def schema(self) -> dict[str, Any]:
        number = {"type": "number", "minimum": self.least, "maximum": self.most}
        return {"anyOf": [{"type": "string", "pattern": f"^{DURATION_PATTERN}$"}, number]}


@dataclass(frozen=True, slots=True)
class FilePath:
    """A path, ``~`` and relative to the document resolved; who loads it checks content and permissions.

    ``there`` is False for one that need not be there yet, or is no ordinary file: that one is not checked.
    """

    secret: bool
    there: bool = True

    def read(self, node: yaml.Node, where: str, reading: Reading) -> Path | None:
        if not is_scalar(node, "str") or not node.value or not node.value.isprintable():
            # not repeated: somebody may have put the key itself here
            reading.problem(line_of(node), f"{where}: expected the path of a file (never its content)")
            return None
        try:
            path = reading.directory / Path(node.value).expanduser()
        except RuntimeError:
            reading.problem(line_of(node), f"{where}: {node.value} names a home directory that is not known")
            return None
        if self.there:
            reading.files.append(NamedFile(where, line_of(node), path, self.secret))
        return path

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True, slots=True)
class ListOf(Generic[T]):
    """A list; what is wrong with one item keeps none of the others from being read."""

    item: Shape[T]
    expected: str
    least: int = 0

    def read(self, node: yaml.Node, where: str, reading: Reading) -> tuple[T, ...] | None:
        if not isinstance(node, yaml.SequenceNode) or len(node.value) < self.least:
            reading.mismatch(node, where, self.expected)
            return None
        items = (self.item.read(child, f"{where}[{index}]", reading) for index, child in enumerate(node.value, 1))
        return tuple(item for item in items if item is not None)

    def schema(self) -> dict[str, Any]:
        schema = {"type": "array", "items": self.item.schema(), "description": self.expected}
        return {**schema, "minItems": self.least} if self.least else schema


@dataclass(frozen=True, slots=True)
class ShortOr(Generic[T]):
    """A short form (a string; a list where *listed*) or the long one (a mapping)."""

    short: Shape[T]
    long: Shape[T]
    expected: str
    listed: bool = False

    def read(self, node: yaml.Node, where: str, reading: Reading) -> T | None:
        if isinstance(node, yaml.MappingNode):
            return self.long.read(node, where, reading)
        if isinstance(node, yaml.SequenceNode) if self.listed else is_scalar(node, "str"):
            return self.short.read(node, where, reading)
        reading.mismatch(node, where, self.expected)
        return None

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.short.schema(), self.long.schema()]}


@dataclass(frozen=True, slots=True)
class Mapped(Generic[T]):
    """What *shape* reads, made into something else."""

    shape: Shape[Any]
    make: Callable[[Any], T]

    def read(self, node: yaml.Node, where: str, reading: Reading) -> T | None:
        value = self.shape.read(node, where, reading)
        return None if value is None else self.make(value)

    def schema(self) -> dict[str, Any]:
        return self.shape.schema()


@dataclass(frozen=True, slots=True)
class OneOf(Generic[T]):
    """A mapping with exactly one of the known keys; its value alone is the result.

    With ``quiet`` what stands there instead is not repeated: it may be the secret itself.
    """

    what: str
    choices: Mapping[str, Shape[Any]]
    quiet: bool = False

    def read(self, node: yaml.Node, where: str, reading: Reading) -> T | None:
        if self.quiet and not isinstance(node, yaml.MappingNode):
            known = " or ".join(f"{{{name}: …}}" for name in self.choices)
            reading.problem(
                line_of(node), f"{where}: expected where {self.what} is ({known}), never the thing itself"
            )
            return None
        return Fields(self.what, self.choices, self._only, check=self._check).read(node, where, reading)

    def schema(self) -> dict[str, Any]:
        properties = {name: shape.schema() for name, shape in self.choices.items()}
        bounds = {"minProperties": 1, "maxProperties": 1}
        return {"type": "object", "additionalProperties": False, "properties": properties, **bounds}

    def _check(self, values: Values) -> None:
        named = [key for key in values.lines if key in self.choices]
        if not values.lines:
            message = f"{values.where or 'the file'}: nothing is named; expected one of {', '.join(self.choices)}"
            values.reading.problem(values.line, message)
        for key in named[1:]:
            values.problem(key, f"given beside {named[0]}; keep one")

    @staticmethod
    def _only(values: Values) -> T:
        value: T = next(iter(values.values.values()))
        return value


@dataclass(frozen=True, slots=True)
class Values:
    """What a mapping held: the values that could be read, and the line of each key that stood there."""

    where: str
    line: int
    reading: Reading
    values: dict[str, Any]
    lines: dict[str, int]

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def problem(self, key: str, message: str) -> None:
        name = f"{self.where}.{key}" if self.where else key
        self.reading.problem(self.lines.get(key, self.line), f"{name}: {message}")


@dataclass(frozen=True, slots=True)
class Fields(Generic[T]):
    """A mapping with known keys.

    ``check`` sees what could be read, always, and tells what does not fit together; ``build`` makes the value and
    is called only when nothing was wrong. ``later`` are keys that a coming release will know.
    """

    what: str
    fields: Mapping[str, Shape[Any]]
    build: Callable[[Values], T]
    required: Collection[str] = ()
    later: Collection[str] = ()
    check: Callable[[Values], None] | None = None

    def read(self, node: yaml.Node, where: str, reading: Reading) -> T | None:
        if not isinstance(node, yaml.MappingNode):
            reading.mismatch(node, where or "the file", f"{self.what} ({', '.join(self.fields)})")
            return None
        before = len(reading.problems)
        values = Values(where, line_of(node), reading, {}, {})
        for key_node, value_node in node.value:
            self._read_pair(key_node, value_node, values)
        for key in self.required:
            if key not in values.lines:
                reading.problem(values.line, f"{where or 'the file'}: {key} is missing; {self.what} needs it")
        if self.check:
            self.check(values)
        return self.build(values) if len(reading.problems) == before else None

    def _read_pair(self, key_node: yaml.Node, value_node: yaml.Node, values: Values) -> None:
        reading, line = values.reading, line_of(key_node)
        if not isinstance(key_node, yaml.ScalarNode):
            reading.mismatch(key_node, values.where or "the file", f"a key of {self.what}")
            return
        key = printable(str(key_node.value), 60)
        name = f"{values.where}.{key}" if values.where else key
        if key in values.lines:
            reading.problem(line, f"{name}: given twice, first in line {values.lines[key]}; keep one")
            return
        values.lines[key] = line
        if key in self.fields:
            value = self.fields[key].read(value_node, name, reading)
            if value is not None:
                values.values[key] = value
        elif key in self.later:
            reading.problem(line, f"{name}: not supported yet; remove it")
        else:
            near = difflib.get_close_matches(key, [*self.fields, *self.later], n=1, cutoff=0.5)
            known = f"did you mean {near[0]}?" if near else f"known are {', '.join(self.fields)}"
            reading.problem(line, f"{name}: unknown key; {known}")

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "additionalProperties": False,
            "required": sorted(self.required),
            "properties": {name: shape.schema() for name, shape in self.fields.items()},
        }
