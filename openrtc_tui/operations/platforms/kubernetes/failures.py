"""What the API said no to, or did not answer."""

from __future__ import annotations

from typing import Final

from openrtc_tui.operations.platforms.platform import PlatformError
from openrtc_worker.contract.text import printable

INVALID: Final = 422
GONE: Final = 410
NOT_FOUND: Final = 404
FORBIDDEN: Final = 403


class RefusedError(PlatformError):
    """The API answered with an error; nothing was changed.

    Attributes:
        code: the HTTP status.
        causes: what is wrong with the object, field by field. A patch whose test failed has none: it is a bare 422.
    """

    def __init__(self, what: str, code: int, message: str, causes: tuple[str, ...] = ()) -> None:
        said = printable("; ".join(causes) or message or f"HTTP {code}")
        super().__init__(f"Kubernetes refused to {what}: {said}", happened=False)
        self.code = code
        self.causes = causes

    @property
    def test_failed(self) -> bool:
        """Whether a patch was refused because the object is not as it was looked at."""
        return self.code == INVALID and not self.causes

    @property
    def for_good(self) -> bool:
        """Whether asking again later can only help once somebody changed something."""
        return self.code in {401, FORBIDDEN, NOT_FOUND}


class UnansweredError(PlatformError):
    """No answer that makes sense came back. ``happened`` is None where the request may have been done."""
