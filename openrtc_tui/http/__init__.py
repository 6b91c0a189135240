"""The one way out: every request of the dashboard passes here, with a deadline, a byte cap and no surprises."""

from __future__ import annotations

from openrtc_tui.http.access import Access
from openrtc_tui.http.client import Http, HttpResponse, HttpStream
from openrtc_tui.http.failure import HttpFailure

__all__ = ["Access", "Http", "HttpFailure", "HttpResponse", "HttpStream"]
