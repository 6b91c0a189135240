"""The agents that a pool hosts, and how each one's sessions are set up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

Provider: TypeAlias = str | Callable[[], Any]
"""A LiveKit model string, or a picklable factory without arguments: provider objects cannot go into a job process."""

Entrypoint: TypeAlias = Callable[[Any], Awaitable[None]]
"""A plain livekit-agents entrypoint: ``async def entrypoint(ctx: JobContext) -> None``."""

MAX_NAME = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    """What an ``AgentSession`` is given; None leaves it to livekit-agents."""

    stt: Provider | None = None
    llm: Provider | None = None
    tts: Provider | None = None
    greeting: str | None = None

    def __post_init__(self) -> None:
        for name in ("stt", "llm", "tts"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str) and not callable(value):
                raise TypeError(
                    f"{name} must be a LiveKit model string or a factory without arguments,"
                    f" not {type(value).__name__}: a provider object cannot be sent to a job process"
                )
        if self.greeting is not None and not isinstance(self.greeting, str):
            raise TypeError(f"greeting must be a string, not {type(self.greeting).__name__}")

    def over(self, defaults: Providers) -> Providers:
        """These, and the defaults where these say nothing."""
        return Providers(
            stt=defaults.stt if self.stt is None else self.stt,
            llm=defaults.llm if self.llm is None else self.llm,
            tts=defaults.tts if self.tts is None else self.tts,
            greeting=defaults.greeting if self.greeting is None else self.greeting,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """One registered agent: either an ``Agent`` class with its providers, or a plain entrypoint."""

    name: str
    agent_class: type[Any] | None = None
    entrypoint: Entrypoint | None = None
    providers: Providers = Providers()


class AgentRegistry:
    """Registered agents in the order in which they were added."""

    def __init__(self) -> None:
        self._agents: dict[str, AgentConfig] = {}

    def __len__(self) -> int:
        return len(self._agents)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._agents)

    @property
    def agents(self) -> dict[str, AgentConfig]:
        return dict(self._agents)

    def add(self, config: AgentConfig) -> None:
        """Raises ValueError when the name is taken."""
        if config.name in self._agents:
            raise ValueError(f"an agent named {config.name!r} is registered already")
        self._agents[config.name] = config

    def get(self, name: str) -> AgentConfig:
        """Raises KeyError when there is none of that name."""
        if name not in self._agents:
            known = ", ".join(self._agents) or "none"
            raise KeyError(f"no agent named {name!r}; registered: {known}")
        return self._agents[name]

    def remove(self, name: str) -> AgentConfig:
        """Raises KeyError when there is none of that name."""
        config = self.get(name)
        del self._agents[name]
        return config


def agent_name(name: str) -> str:
    """The name as it is used: stripped.

    Raises:
        TypeError: not a string.
        ValueError: blank, too long, or not printable on one line.
    """
    if not isinstance(name, str):
        raise TypeError(f"an agent's name must be a string, not {type(name).__name__}")
    stripped = name.strip()
    if not stripped:
        raise ValueError("an agent's name must not be blank")
    if len(stripped) > MAX_NAME or not stripped.isprintable():
        raise ValueError(f"an agent's name must be at most {MAX_NAME} printable characters")
    return stripped
