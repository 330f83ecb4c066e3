"""Hive: a metastore and a HiveServer2, whose queries run inside it (Tez in local mode)."""

from __future__ import annotations

import getpass
import platform
import shutil
import subprocess
import zipfile
from pathlib import Path

from tests.engines.cache import CONFIG, check, jdk, made, maven, maven_copy
from tests.engines.server import Facts, Server, free_ports, listens

_CONFIG = CONFIG / "hive"
_EMPTY = "executor.jar"
_LIBHADOOP_SHA256 = "2d6fb96cb86f0411f1d520012b0fe2fc0215dcf920108e316f3e31b435dcc88d"
_HIVEMALL_SHA256 = "d51588266559895af503f09be781d21cfb1c46c20234c251c9a2a2042b9b24ca"


class Hive(Server):
    """No password is asked for. ``metastore`` is where its metastore answers, ``dir`` where its tables lie."""

    name = "hive"
    #: ``hive.server2.authentication``; by LDAP, everybody is refused, since there is no such server.
    authentication = "NONE"

    @classmethod
    def install(cls) -> None:
        """Jars by Maven, the Java runtime by pip, and an empty metastore."""
        _home()
        native()

    def prepare(self) -> Facts:
        """Ports, and a copy of the empty metastore."""
        metastore, server = free_ports(2)
        for name in ("tmp", "hive-jars", "warehouse"):
            (self.data / name).mkdir()
        shutil.copytree(_home() / "metastore_db", self.data / "metastore_db")
        return {
            "port": server,
            "metastore": f"thrift://127.0.0.1:{metastore}",
            "metastore_port": metastore,
            "dir": str(self.data / "warehouse"),
            "log": str(self.log("hiveserver2")),
        }

    def launch(self) -> None:
        """The metastore, then the server that uses it."""
        self._launch_metastore()
        port = self.facts["port"]
        self.run(
            "hiveserver2",
            [*self._java(), "-Xmx4g", f"-Dhive.server2.authentication={self.authentication}",
             "-Dhive.server2.authentication.ldap.url=ldap://127.0.0.1:1", "org.apache.hive.service.server.HiveServer2"],
            lambda: listens(port),
            env=_environment(_home()),
        )  # fmt: skip

    def _launch_metastore(self) -> None:
        port = self.facts["metastore_port"]
        self.run(
            "metastore",
            [*self._java(), "-Xmx1g", "org.apache.hadoop.hive.metastore.HiveMetaStore", "-p", str(port)],
            lambda: listens(port),
            env=_environment(_home()),
        )

    def _java(self) -> list[str]:
        ports = (f"-Dengine.metastore.port={self.facts['metastore_port']}", f"-Dengine.hs2.port={self.facts['port']}")
        return _java(self.data, *ports)


class Granting(Hive):
    """Its metastore within HiveServer2, with SQL-standard authorization; ``admin`` may take the role of that name."""

    #: More of its configuration, each as ``name=value``.
    properties: tuple[str, ...] = ()

    def launch(self) -> None:
        """One process."""
        port, plugin = self.facts["port"], "org.apache.hadoop.hive.ql.security"
        self.run(
            "hiveserver2",
            [*self._java(), "-Xmx1g", "-Dhive.metastore.uris= ", "-Dhive.users.in.admin.role=admin",
             "-Dhive.security.authorization.enabled=true",
             f"-Dhive.security.authorization.manager={plugin}.authorization.plugin.sqlstd.SQLStdHiveAuthorizerFactory",
             f"-Dhive.security.authenticator.manager={plugin}.SessionStateUserAuthenticator",
             *(f"-D{each}" for each in self.properties),
             "org.apache.hive.service.server.HiveServer2"],
            lambda: listens(port),
            env=_environment(_home()),
        )  # fmt: skip


class Metastore(Hive):
    """Hive's metastore alone, for Trino."""

    def launch(self) -> None:
        """No more than that."""
        self._launch_metastore()


def _home() -> Path:
    recipe = [(_CONFIG / name).read_text() for name in ("pom.xml", "lib.sha256", "hive-site.xml")]
    return made("hive-4.0.1", _make, "\0".join(recipe))


def native() -> Path:
    """A directory with Hadoop's native library, as Trino's build of Hadoop brings it.

    Without it Hadoop starts a process for every ``chmod`` and every look at a link, some twenty a second.
    """
    return made("libhadoop-3.3.5", _native, _LIBHADOOP_SHA256)


def _native(directory: Path) -> None:
    jar = directory / "hadoop-apache-3.3.5-3.jar"
    maven_copy("hadoop", "io.trino.hadoop:hadoop-apache:3.3.5-3", _LIBHADOOP_SHA256, jar)
    machine = {"x86_64": "amd64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if name == f"nativelib/Linux-{machine}/libhadoop.so":
                (directory / "libhadoop.so").write_bytes(archive.read(name))
    jar.unlink()


def hivemall() -> Path:
    """Hivemall's jar, for ``ADD JAR``: the functions that measures are compared with. It is loaded by tests only.

    :raises Missing: Maven cannot bring it.
    """
    return made("hivemall-0.5.2", _hivemall, _HIVEMALL_SHA256) / "hivemall-all-0.5.2-incubating.jar"


def _hivemall(directory: Path) -> None:
    artifact, jar = "org.apache.hivemall:hivemall-all:0.5.2-incubating", "hivemall-all-0.5.2-incubating.jar"
    maven_copy("hivemall", artifact, _HIVEMALL_SHA256, directory / jar)


def _make(directory: Path) -> None:
    shutil.copy(_CONFIG / "pom.xml", directory)
    maven("hive", ["package"], directory)
    lines = [line.split() for line in (_CONFIG / "lib.sha256").read_text().splitlines()]
    jars = {name: digest for digest, name in lines}
    found = {path.name for path in (directory / "lib").glob("*.jar")}
    if found != jars.keys():
        raise RuntimeError(f"Maven brought other jars than config/hive/lib.sha256 lists: {sorted(found ^ jars.keys())}")
    for name, digest in jars.items():
        check(directory / "lib" / name, digest)
    # Hive copies the jar of its executor for every session, 50 MB, and checks it. Run from a directory, it copies the
    # file that hive.jar.path names: an empty one, since what it runs in one process is loaded already.
    (executor,) = (directory / "lib").glob("hive-exec-*.jar")
    with zipfile.ZipFile(executor) as archive:
        archive.extractall(directory / "exec")
    executor.unlink()
    with zipfile.ZipFile(directory / _EMPTY, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    (scripts,) = (directory / "hms-dist").glob("apache-hive-metastore-*-bin")
    tool = "org.apache.hadoop.hive.metastore.tools.schematool.MetastoreSchemaTool"
    (directory / "tmp").mkdir()
    done = subprocess.run(
        [*_java(directory, f"-DMETASTORE_HOME={scripts}", home=directory), tool, "-dbType", "derby", "-initSchema"],
        env=_environment(directory) | {"METASTORE_HOME": str(scripts)}, cwd=directory, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"Hive's empty metastore was not made:\n{(done.stdout + done.stderr)[-3000:]}")


def _java(directory: Path, *properties: str, home: Path | None = None) -> list[str]:
    """The beginning of a command; ``hive-site.xml`` reads these properties."""
    home = home or _home()
    return [
        str(jdk(17) / "bin" / "java"),
        *(_CONFIG / "jvm.config").read_text().split(),
        f"-Dengine.dir={directory}",
        f"-Dengine.executor={home / _EMPTY}",
        f"-Dderby.stream.error.file={directory}/derby.log",
        f"-Djava.io.tmpdir={directory}/tmp",
        f"-Djava.library.path={native()}",
        f"-Dlog4j2.configurationFile={_CONFIG}/hive-log4j2.properties",
        f"-Dlog4j.configurationFile={_CONFIG}/hive-log4j2.properties",
        *properties,
        "-cp",
        f"{_CONFIG}:{home}/exec:{home}/lib/*",
    ]


def _environment(home: Path) -> dict[str, str]:
    return {
        "HADOOP_USER_NAME": getpass.getuser(),
        "HIVE_HOME": str(home),
        "HIVE_CONF_DIR": str(_CONFIG),
        "METASTORE_CONF_DIR": str(_CONFIG),
    }
