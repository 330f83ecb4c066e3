"""The services of ``docker-compose.yaml`` below Airflow, as processes of this machine with its configuration.

Taken from the file: Postgres' first script, the metastore's ``hive-site.xml``, Trino's catalogs, all environments, and
the object storage's command, if ``versitygw`` is on the path; else moto's server stands for it. Not from it: images.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.engines.cache import CONFIG, check, made, maven
from tests.engines.hive import _environment as hive_environment
from tests.engines.hive import _home as hive_home
from tests.engines.hive import _java as hive_java
from tests.engines.postgres import Postgres
from tests.engines.s3 import S3
from tests.engines.server import Facts, Server, free_ports, listens
from tests.engines.trino import Trino

FILE = Path(__file__).resolve().parents[2] / "docker-compose.yaml"
_CONFIG = CONFIG / "metastore"
_DATABASE = "/opt/hive/data/warehouse"
_BUCKET = "automl"


def local(value: object, environment: Mapping[str, str] | None = None) -> str:
    """A value of the file as Compose reads it in that environment: by default, with nothing set."""
    given = environment or {}

    def chosen(found: re.Match[str]) -> str:
        here = given.get(found["name"])
        return found["default"] if here is None or (not here and found["empty"]) else here

    text = re.sub(r"(?<!\$)\$\{(?P<name>\w+)(?P<empty>:?)-(?P<default>[^}]*)\}", chosen, str(value))
    assert "$" not in text.replace("$$", ""), f"{value}: a variable without a default"
    return text.replace("$$", "$")


class Services:
    """What the file says, with other places for its services.

    :param places: for ``s3:7070``, ``metastore:9083``, ``postgres:5432`` and ``trino:8080``: where that is here.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        import yaml

        self._file: dict[str, Any] = yaml.safe_load(FILE.read_text())
        self._places = places

    def placed(self, value: object) -> str:
        """A text of the file, with the places of this machine."""
        text = local(value)
        for name, here in self._places.items():
            text = text.replace(name, here)
        return text

    def environment(self, service: str) -> dict[str, str]:
        """A service's environment; its connections name host and port apart."""
        found = {}
        for name, value in self._file["services"][service].get("environment", {}).items():
            text = self.placed(value)
            for place, here in self._places.items():
                (host, port), (its_host, its_port) = place.split(":"), here.split(":")
                text = text.replace(f'"host": "{host}", "port": {port}', f'"host": "{its_host}", "port": {its_port}')
            found[name] = text
        return found

    def command(self, service: str) -> list[str]:
        """Its entrypoint and its command."""
        found = self._file["services"][service]
        return [self.placed(part) for part in (*found.get("entrypoint", ()), *found["command"])]

    def configs(self, service: str) -> dict[Path, str]:
        """The files that are mounted, by their paths in its container."""
        return {
            Path(config["target"]): self.placed(self._file["configs"][config["source"]]["content"])
            for config in self._file["services"][service]["configs"]
        }


class _Service(Server):
    """One of them, with the file's environment.

    :param services: the file.
    """

    services: Services

    def run(
        self, process: str, command: Iterable[str | Path], ready: Callable[[], bool], *,
        env: Mapping[str, str | Path] | None = None, user: str | None = None,
    ) -> None:  # fmt: skip
        environment = {**(env or {}), **self.services.environment(self.name)}
        super().run(process, command, ready, env=environment, user=user)


class ObjectStorage(_Service):
    """The Versity S3 Gateway, by the file's own command."""

    name = "s3"

    @classmethod
    def install(cls) -> None:
        """Nothing is downloaded for it."""

    def prepare(self) -> Facts:
        """Its port."""
        return {"port": int(self.services.placed("s3:7070").rpartition(":")[2])}

    def launch(self) -> None:
        """In a directory of its own instead of /data."""
        port, binary = self.facts["port"], shutil.which("versitygw")
        shell, flag, script, *command = self.services.command("s3")
        script = script.replace("/data", str(self.data)).replace("/app/versitygw", shlex.quote(str(binary)))
        command = [part.replace("/data", str(self.data)).replace(":7070", f"127.0.0.1:{port}") for part in command]
        self.run("s3", [str(shutil.which(shell)), flag, script, *command], lambda: listens(port))


class Moto(S3):
    """What stands for the object storage where ``versitygw`` is not at hand."""

    services: Services

    def prepare(self) -> Facts:
        """At the port that was chosen."""
        port = int(self.services.placed("s3:7070").rpartition(":")[2])
        return {**super().prepare(), "port": port, "endpoint": f"http://127.0.0.1:{port}", "bucket": _BUCKET}


class Metastore(_Service):
    """Hive's metastore, with the image's steps: the schema is made, then the server is started."""

    name = "metastore"

    @classmethod
    def install(cls) -> None:
        """Hive's jars, and those of the S3A file system."""
        hive_home()
        _s3a()

    def prepare(self) -> Facts:
        """Its port, and the file's configuration."""
        (self.data / "tmp").mkdir()
        (self.data / "conf").mkdir()
        for path, text in self.services.configs(self.name).items():
            (self.data / "conf" / path.name).write_text(text.replace(_DATABASE, str(self.data)))
        return {"port": int(self.services.placed("metastore:9083").rpartition(":")[2])}

    def launch(self) -> None:
        """As its entrypoint does."""
        port, home, conf = self.facts["port"], hive_home(), self.data / "conf"
        (scripts,) = (home / "hms-dist").glob("apache-hive-metastore-*-bin")
        java = [
            *hive_java(self.data, f"-DMETASTORE_HOME={scripts}")[:-1],
            f"{conf}:{home}/exec:{home}/lib/*:{_s3a()}/lib/*",
        ]
        env = hive_environment(home) | {
            "HIVE_CONF_DIR": str(conf), "METASTORE_CONF_DIR": str(conf), "METASTORE_HOME": str(scripts),
        }  # fmt: skip
        tool = "org.apache.hadoop.hive.metastore.tools.schematool.MetastoreSchemaTool"
        with self.log("schematool").open("ab") as output:
            subprocess.run(
                [*java, tool, "-dbType", "derby", "-initOrUpgradeSchema"],
                env={**os.environ, **env, **self.services.environment(self.name)},
                cwd=self.data, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True,
            )  # fmt: skip
        server = "org.apache.hadoop.hive.metastore.HiveMetaStore"
        self.run("metastore", [*java, "-Xmx1g", server, "-p", str(port)], lambda: listens(port), env=env)


class ComposedTrino(_Service, Trino):
    """Trino with the file's catalogs, and tpch, which says when it is up."""

    name = "trino"

    def prepare(self) -> Facts:
        """Its catalogs, and the chosen port."""
        facts = super().prepare()
        for file in (self.data / "catalog").iterdir():
            if file.stem != "tpch":
                file.unlink()
        for path, text in self.services.configs(self.name).items():
            (self.data / "catalog" / path.name).write_text(text)
        return {**facts, "port": int(self.services.placed("trino:8080").rpartition(":")[2])}


def _s3a() -> Path:
    recipe = [(_CONFIG / name).read_text() for name in ("pom.xml", "lib.sha256")]
    return made("s3a-3.3.6", _make, "\0".join(recipe))


def _make(directory: Path) -> None:
    shutil.copy(_CONFIG / "pom.xml", directory)
    maven("metastore", ["package"], directory)
    for line in (_CONFIG / "lib.sha256").read_text().splitlines():
        digest, name = line.split()
        check(directory / "lib" / name, digest)


@contextmanager
def services(directory: Path) -> Iterator[Services]:
    """Have Postgres, the object storage, the metastore and Trino run below a directory, for a ``with`` block.

    :raises Missing: one cannot be had on this machine; says what to install.
    """
    storage: type[Server] = ObjectStorage if shutil.which("versitygw") else Moto
    for each in (Postgres, storage, Metastore, ComposedTrino):
        each.install()
    with ExitStack() as stack:

        def started(server: Server) -> Facts:
            stack.callback(server.clear)
            stack.callback(server.stop)
            return server.start()

        postgres = Postgres(directory / "postgres")
        facts = started(postgres)
        chosen = zip(("s3:7070", "metastore:9083", "trino:8080"), free_ports(3), strict=True)
        places = {name: f"127.0.0.1:{port}" for name, port in chosen}
        found = Services({**places, "postgres:5432": f"127.0.0.1:{facts['port']}"})
        _first_script(postgres, found)
        for kind in (storage, Metastore, ComposedTrino):
            server = kind(directory / kind.name)
            server.services = found  # type: ignore[attr-defined]
            started(server)
        yield found


def _first_script(postgres: Postgres, found: Services) -> None:
    """Do as the image does when its volume is empty."""
    environment = found.environment("postgres")
    user, address = environment["POSTGRES_USER"], ["-h", "127.0.0.1", "-p", str(postgres.facts["port"])]
    psql = [str(postgres._cluster.bin_path / "psql"), *address, "-v", "ON_ERROR_STOP=1", "-q"]
    role = f"CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{environment['POSTGRES_PASSWORD']}'"
    subprocess.run([*psql, "-U", "postgres", "-c", role], check=True)
    subprocess.run([*psql, "-U", "postgres", "-c", f"CREATE DATABASE {environment['POSTGRES_DB']}"], check=True)
    for text in found.configs("postgres").values():
        subprocess.run([*psql, "-U", user, "-d", environment["POSTGRES_DB"]], input=text, text=True, check=True)
