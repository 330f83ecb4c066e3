"""Where a job's process runs: start it, stream its lines, bound it, kill it."""

from __future__ import annotations
