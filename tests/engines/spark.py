"""Spark's Thrift server, which speaks HiveServer2's protocol: what many a Hive connection leads to."""

from __future__ import annotations

from pathlib import Path

from tests.engines.cache import CONFIG, jdk, packages
from tests.engines.server import Facts, Server, free_ports, listens

_CONFIG = CONFIG / "spark"


class Spark(Server):
    """With a metastore of its own. No password is asked for. ``dir`` is where its tables lie."""

    name = "spark"

    @classmethod
    def install(cls) -> None:
        """Spark and the Java runtime by pip."""
        jdk(17)
        packages("pyspark")

    def prepare(self) -> Facts:
        """Its port."""
        (port,) = free_ports(1)
        (self.data / "tmp").mkdir()
        return {"port": port, "dir": str(self.data / "warehouse"), "log": str(self.log("spark"))}

    def launch(self) -> None:
        """As ``spark-submit`` does, but for the vector module, which this Java runtime lacks."""
        port = self.facts["port"]
        database = self.data / "metastore_db"
        settings = {
            "spark.sql.warehouse.dir": self.data / "warehouse",
            "spark.local.dir": self.data / "tmp",
            "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={database};create=true",
        }
        self.run(
            "spark",
            [jdk(17) / "bin" / "java", *(_CONFIG / "jvm.config").read_text().split(),
             f"-Djava.io.tmpdir={self.data}/tmp", f"-Dderby.stream.error.file={self.data}/derby.log",
             "-cp", f"{_CONFIG}:{_home()}/jars/*", "org.apache.spark.deploy.SparkSubmit",
             "--properties-file", _CONFIG / "spark-defaults.conf",
             *(part for key, value in settings.items() for part in ("--conf", f"{key}={value}")),
             "--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2", "spark-internal",
             "--hiveconf", f"hive.server2.thrift.port={port}", "--hiveconf", "hive.server2.thrift.bind.host=127.0.0.1"],
            lambda: listens(port),
            env={"SPARK_HOME": _home(), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_CONF_DIR": _CONFIG},
        )  # fmt: skip


def _home() -> Path:
    return packages("pyspark") / "pyspark"
