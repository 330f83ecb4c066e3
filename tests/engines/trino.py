"""Trino: one process that coordinates and works."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

from tests.engines.cache import CONFIG, jdk, made, maven_copy
from tests.engines.server import Facts, Server, free_ports

_VERSION = "476"
_SHA256 = "cfd5accde17e8ebd251eeeb78aed1f490e77bb3a164d95a0f454bf8a7c1cbd3f"
_PLUGINS = {"geospatial", "hive", "iceberg", "memory", "postgresql", "tpch"}  # of 60: each costs a second at start
_CONFIG = CONFIG / "trino"
#: A catalog that needs another server, and that server.
BESIDE = {"hive": "hive", "iceberg_jdbc": "postgres", "lake": "s3", "postgresql": "postgres"}


class Trino(Server):
    """Its catalogs: files (Hive tables without a metastore server), iceberg, memory, tpch; with Hive beside it hive, on
    the same metastore; with S3 lake; with Postgres postgresql, and iceberg_jdbc, whose tables Postgres lists (see
    :func:`for_iceberg`). ``staging`` is a directory of local files.

    Anybody is let in. The user ``reader`` may only read; ``outsider`` may not even do that. ``ruled`` may what is put
    before the rules in the file ``rules``, which is read anew all the time. Only ``grantee``, and ``admin``, who may
    take the role of that name, see the catalog ``granted``, where privileges are granted by statements.
    """

    name = "trino"
    #: Of memory, in GiB: a query may use half of it. The tests run beside other servers; a benchmark takes more.
    heap = 3
    #: How its Java collects garbage; G1, as in production, takes a tenth more of two processors.
    collector = "-XX:+UseSerialGC"

    @classmethod
    def install(cls) -> None:
        """The server's archive by Maven, the Java runtime by pip."""
        jdk(25)
        _home()

    def prepare(self) -> Facts:
        """Its configuration, by what stands beside it."""
        (port,) = free_ports(1)
        catalogs = self.data / "catalog"
        catalogs.mkdir()
        for file in sorted((_CONFIG / "catalog").glob("*.properties")):
            if BESIDE.get(file.stem) in (None, *self.beside):
                shutil.copy(file, catalogs)
        staging = self.data / "staging"
        staging.mkdir()
        shutil.copy(_CONFIG / "rules.json", self.data)
        (self.data / "tmp").mkdir()
        return {
            "port": port,
            "catalogs": sorted(file.stem for file in catalogs.iterdir()),
            "staging": staging.as_uri(),
            "rules": str(self.data / "rules.json"),
            "log": str(self.log("trino")),
        }

    def launch(self) -> None:
        """As ``bin/launcher run`` does."""
        port = self.facts["port"]
        home = _home()
        options = (_CONFIG / "jvm.config").read_text().split()
        # After some three hundred queries the better compiler has paid for itself, and each takes half the time.
        compiler = ["-XX:TieredStopAtLevel=4"] if self.lasting else []
        self.run(
            "trino",
            [jdk(25) / "bin" / "java", f"-Xmx{self.heap}G", self.collector, *compiler, *options,
             f"-Djava.io.tmpdir={self.data}/tmp", "-cp", f"{home}/lib/*",
             f"-Dconfig={_CONFIG / 'config.properties'}", "io.trino.server.TrinoServer"],
            lambda: _answers(port),
            env={
                "TRINO_PORT": str(port),
                "TRINO_QUERY_MEMORY": f"{self.heap * 512}MB",
                "TRINO_HOME": home,
                "TRINO_DATA": self.data,
                "TRINO_CONFIG": _CONFIG,
                "TRINO_CATALOGS": self.data / "catalog",
                "METASTORE": str(self.beside.get("hive", {}).get("metastore")),
                "S3_ENDPOINT": str(self.beside.get("s3", {}).get("endpoint")),
                "POSTGRES_PORT": str(self.beside.get("postgres", {}).get("port")),
            },
        )  # fmt: skip


def for_iceberg(postgres: Facts) -> None:
    """Make the tables of the catalog iceberg_jdbc, which Trino expects to be there."""
    import psycopg2

    server = {"host": postgres["host"], "port": postgres["port"], "user": postgres["login"]}
    connection = psycopg2.connect(**server, dbname=postgres["schema"])
    connection.autocommit = True
    names = "catalog_name VARCHAR(255) NOT NULL, {} VARCHAR(255) NOT NULL, {} VARCHAR(255) NOT NULL"
    connection.cursor().execute(
        f"CREATE TABLE iceberg_tables ({names.format('table_namespace', 'table_name')}, "
        "metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5), "
        "PRIMARY KEY (catalog_name, table_namespace, table_name)); "
        f"CREATE TABLE iceberg_namespace_properties ({names.format('namespace', 'property_key')}, "
        "property_value VARCHAR(1000), PRIMARY KEY (catalog_name, namespace, property_key))"
    )
    connection.close()


def _home() -> Path:
    return made(f"trino-{_VERSION}", _unpack, f"{_SHA256} {sorted(_PLUGINS)}")


def _unpack(directory: Path) -> None:
    archive = directory / f"trino-server-{_VERSION}.tar.gz"
    maven_copy("trino", f"io.trino:trino-server:{_VERSION}:tar.gz", _SHA256, archive)
    subprocess.run(["tar", "-xzf", archive, "--strip-components=1"], cwd=directory, check=True)
    archive.unlink()
    for plugin in (directory / "plugin").iterdir():
        if plugin.name not in _PLUGINS:
            shutil.rmtree(plugin)


def _answers(port: int) -> bool:
    """Whether a query that wants a worker with a catalog is answered: for some seconds after a start there is none."""
    url = f"http://127.0.0.1:{port}/v1"
    user = {"X-Trino-User": "tester"}
    request = urllib.request.Request(f"{url}/statement", b"SELECT COUNT(*) FROM tpch.tiny.nation", user)
    try:
        with urllib.request.urlopen(f"{url}/info", timeout=10) as response:
            if json.load(response)["starting"]:
                return False
        while True:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer = json.load(response)
            if "nextUri" not in answer:
                return "error" not in answer
            request = urllib.request.Request(answer["nextUri"], headers=user)
    except OSError:
        return False
