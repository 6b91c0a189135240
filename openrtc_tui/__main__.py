"""``python -m openrtc_tui``."""

from __future__ import annotations

import sys

from openrtc_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
