"""Rollback through a Deployment. lightkube, of the extra ``kubernetes``, is imported when it is first needed."""

from __future__ import annotations

from openrtc_tui.operations.platforms.kubernetes.platform import KubernetesPlatform

__all__ = ["KubernetesPlatform"]
