"""How observations of workers arrive: event streams first, polling where a worker has none."""

from __future__ import annotations

from openrtc_tui.sources.watch import Watch

__all__ = ["Watch"]
