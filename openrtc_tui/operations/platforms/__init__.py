"""Deployment platforms: who brings a version up when its workers are not running, and ends what is left over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrtc_tui.fleet_specs import ExecSpec, KubernetesSpec, LocalSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from openrtc_tui.fleet_specs import PlatformSpec
    from openrtc_tui.http import Http
    from openrtc_tui.operations.platforms.platform import Platform


def platform_of(
    spec: PlatformSpec,
    *,
    fleet: str,
    folder: Path,
    http: Http,
    drain_timeout: float | None = None,
    on_trouble: Callable[[str | None], None] = lambda _: None,
    on_output: Callable[[str], None] = lambda _: None,
) -> Platform:
    """The platform that a fleet file names; only its own module is loaded.

    Args:
        spec: which one.
        fleet: the fleet's name.
        folder: the fleet file's, where programs run.
        http: the way out.
        drain_timeout: what drains are given, in seconds; None: the workers' own.
        on_trouble: hears why the platform cannot be watched, one line; None once it can be again.
        on_output: hears what a program prints, line by line.
    """
    if isinstance(spec, KubernetesSpec):
        from openrtc_tui.operations.platforms.kubernetes import KubernetesPlatform

        return KubernetesPlatform(spec, drain_timeout=drain_timeout, on_trouble=on_trouble)
    if isinstance(spec, LocalSpec):
        from openrtc_tui.operations.platforms.local import LocalPlatform

        return LocalPlatform(spec.socket)
    if isinstance(spec, ExecSpec):
        from openrtc_tui.operations.platforms.exec import ExecPlatform

        return ExecPlatform(spec.argv, folder=folder, timeout=spec.timeout, on_output=on_output)
    from openrtc_tui.operations.platforms.webhook import WebhookPlatform

    return WebhookPlatform(spec.url, key_file=spec.key_file, fleet=fleet, http=http)
