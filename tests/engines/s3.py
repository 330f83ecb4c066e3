"""S3: moto's server, which keeps objects in memory."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from contextlib import suppress

from tests.engines.cache import packages
from tests.engines.server import Facts, Server, free_ports, listens

_BUCKET = "lake"


class S3(Server):
    """Any key is let in; the bucket is there. Its objects are gone when it is restarted."""

    name = "s3"

    @classmethod
    def install(cls) -> None:
        """moto and all it needs, apart from this environment."""
        packages("moto")

    def prepare(self) -> Facts:
        """Its port, and keys for clients that insist on some."""
        (port,) = free_ports(1)
        return {
            "port": port,
            "endpoint": f"http://127.0.0.1:{port}",
            "bucket": _BUCKET,
            "region": "us-east-1",
            "access_key": "test",
            "secret_key": "test",
            "log": str(self.log("s3")),
        }

    def launch(self) -> None:
        """The server, then the bucket."""
        port = self.facts["port"]
        self.run(
            "s3",
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            lambda: listens(port),
            env={"PYTHONPATH": packages("moto")},
        )
        request = urllib.request.Request(f"{self.facts['endpoint']}/{self.facts['bucket']}", method="PUT")
        with suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=60):
            pass
