"""``python become.py PARENT SIGNAL USER COMMAND …``: become COMMAND.

It runs as USER (``-``: whoever this is), and gets SIGNAL when the process PARENT dies (``0``: it outlives it). A
process of its own, since neither is safe between fork and exec in a process with threads.
"""

from __future__ import annotations

import os
import pwd
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from airflow_provider_automl.jobs.processes import die_with_parent


def main(parent: str, number: str, user: str, *command: str) -> None:
    """Never returns."""
    if user != "-":
        entry = pwd.getpwnam(user)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    if parent != "0":
        die_with_parent(signal.Signals(int(number)))  # after setuid, which forgets it
        if os.getppid() != int(parent):
            sys.exit("the process that wanted this is gone")
    os.execv(command[0], command)


main(*sys.argv[1:])
