"""The same workers on LiveKit's real server, with real callers: ``make test-livekit``."""
