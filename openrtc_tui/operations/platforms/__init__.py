"""Deployment platforms: who brings a version up when its workers are not running, and ends what is left over."""
