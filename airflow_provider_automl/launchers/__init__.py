"""Launchers run a job in a process: they start it, stream its output, enforce its limits and kill it."""

from __future__ import annotations
