"""Requests to workers: what may be asked, who signs it, how it is sent and what came of it."""
