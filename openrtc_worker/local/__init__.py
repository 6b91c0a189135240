"""The embedded fleet: a dispatcher that speaks LiveKit's worker protocol, simulated calls, real worker processes.

Real livekit-agents workers register with it, take calls, drain and exit without a LiveKit server. It carries no
media: a call is a job with a length, and nobody is on the line.
"""
