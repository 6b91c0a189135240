"""What `openrtc-tui COMMAND` does; each module has `run(args)`, which answers the exit code."""
