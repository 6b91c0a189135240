"""Imported by the forkserver before it forks: it and every job process ignore SIGTERM from then on.

systemd and ``tini -g`` send SIGTERM to the whole process group. The worker turns it into a drain; with the default
handler in the forkserver or in a job process the same signal would end the very calls that the drain waits for.
"""

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
