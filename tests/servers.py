"""The engines' servers of one test run: one of each kind, started by the first test that asks, shared by all processes.

They live in the process that the run was started with. Its workers (pytest-xdist) ask for them through a socket.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, Protocol

from tests.costs import note, used
from tests.engines import BESIDE, ENGINES, Facts, Missing, engine


class Asked(Protocol):
    """Whom a test asks for a server."""

    def get(self, name: str) -> Facts:
        """How to reach that server, which is started if it is not up yet.

        :raises Missing: it cannot be had on this machine.
        :raises RuntimeError: it did not start; with the end of its log.
        """


class Servers:
    """The servers of a run.

    :param logs: says where a directory is that gets each server's logs when it ends.
    """

    def __init__(self, logs: Callable[[], Path]) -> None:
        self.logs = logs
        self._standing: dict[str, _Standing] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Facts:
        """As :meth:`Asked.get`."""
        return self._stand(name).facts.result()

    def beside(self, name: str) -> dict[str, Facts]:
        """The servers that the catalogs of Trino are over, as far as they can be had; started at once."""
        names = set(BESIDE.values()) if name == "trino" else set()
        for other in names:
            self._stand(other)
        found = {}
        for other in names:
            with suppress(Missing):
                found[other] = self.get(other)
        return found

    def close(self) -> None:
        """End them all, the last one first."""
        while self._standing:
            _, standing = self._standing.popitem()
            standing.end()

    def _stand(self, name: str) -> _Standing:
        with self._lock:
            if name not in self._standing:
                self._standing[name] = _Standing(name, self)
            return self._standing[name]


class _Standing(threading.Thread):
    """Has one server stand until ``end``: a thread of its own, since the kernel ends a server with the thread that
    started it.
    """

    def __init__(self, name: str, servers: Servers) -> None:
        super().__init__(name=f"server {name}", daemon=True)
        self.facts: Future[Facts] = Future()
        self._kind = name
        self._servers = servers
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        name = self._kind
        # Not in pytest's directory, which another run of the same user closes to the user that Postgres runs as.
        home = Path(tempfile.mkdtemp(prefix=f"automl-{name}-"))
        try:
            ENGINES[name].install()
            beside = self._servers.beside(name)
            begun = time.time()
            with engine(name, home=home, beside=beside, lasting=True) as facts:
                self.facts.set_result(facts)
                self._over.wait()
                note("server", name, "", begun, used(pid for pid, _ in facts["processes"]))
        except BaseException as error:
            if self.facts.done():
                raise
            self.facts.set_exception(error)
        finally:
            shutil.copytree(home, self._servers.logs() / name, dirs_exist_ok=True)
            shutil.rmtree(home, ignore_errors=True)

    def end(self) -> None:
        """End the server, and wait until it has ended."""
        self._over.set()
        self.join()


class Answering(threading.Thread):
    """Answers the workers of a run: for each message ``(what, argument)`` the result of ``handlers[what]``.

    ``address`` is what :class:`Remote` takes.
    """

    def __init__(self, **handlers: Callable[[Any], Any]) -> None:
        super().__init__(name="servers", daemon=True)
        self._handlers = handlers
        self._directory = tempfile.mkdtemp(prefix="automl-servers-")
        self._listener = Listener(f"{self._directory}/socket", backlog=16)
        self.address = str(self._listener.address)
        self.start()

    def run(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                threading.Thread(target=self._answer, args=(self._listener.accept(),), daemon=True).start()

    def _answer(self, peer: Connection) -> None:
        with peer, suppress(OSError, EOFError):
            what, argument = peer.recv()
            try:
                answer = self._handlers[what](argument)
            except BaseException as error:
                # Only what any process can build again: an exception's own arguments may not be picklable.
                answer = (Missing if isinstance(error, Missing) else RuntimeError)(str(error) or repr(error))
            peer.send(answer)

    def close(self) -> None:
        """Answer no more."""
        self._listener.close()
        shutil.rmtree(self._directory, ignore_errors=True)


class Remote:
    """What a worker sees of the servers of its run."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, what: str, argument: Any) -> Any:
        """The handler's result.

        :raises Missing: as the handler did.
        :raises RuntimeError: the handler raised anything else.
        """
        with Client(self._address) as peer:
            peer.send((what, argument))
            answer = peer.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def get(self, name: str) -> Facts:
        """As :meth:`Asked.get`."""
        found: Facts = self.ask("server", name)
        return found
