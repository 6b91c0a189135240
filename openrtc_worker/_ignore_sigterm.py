"""Imported by the forkserver before it forks: it and every job process ignore SIGTERM and SIGINT from then on.

systemd and ``tini -g`` send SIGTERM to the whole process group, a terminal SIGINT. The worker turns both into a
drain; with the default handlers in the forkserver or in a job process the same signal would end the very calls that
the drain waits for.
"""

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
