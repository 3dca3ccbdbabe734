"""One Spark with Delta Lake in this process, for tests: one thread, nothing but loopback, no page, UTC.

Import it before anything of pyspark: it says where Spark is ($MILLRACE_DEPS/spark, by scripts/setup).
"""

import datetime
import os
import pathlib
import sys
import time

HOME = pathlib.Path(os.environ.get("MILLRACE_DEPS") or os.path.expanduser("~/.cache/millrace/deps")) / "spark" / "home"
assert HOME.is_dir(), f"no Spark in {HOME}: run scripts/setup"
# pyspark makes naive datetimes of the process's own time zone.
os.environ.update(SPARK_HOME=str(HOME), SPARK_LOCAL_IP="127.0.0.1", PYSPARK_PYTHON=sys.executable, TZ="UTC")
time.tzset()
sys.path[:0] = [str(HOME / "python"), *map(str, (HOME / "python" / "lib").glob("py4j-*.zip"))]

from pyspark.sql import Row, SparkSession  # noqa: E402  (the path is set just above)


def start(folder):
    """`folder`: for what Spark leaves lying about."""
    settings = {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.databricks.delta.snapshotPartitions": "1",
        # The tests say themselves when a VACUUM with less than a week is fair.
        "spark.databricks.delta.retentionDurationCheck.enabled": "false",
        # VACUUM lists a table in as many tasks, 10,000 if not told otherwise.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "1",
        # Compiling each of these small queries, and planning it anew half-way, takes longer than running it.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder / "scratch"),
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        # A machine that was suspended for minutes is no dead executor.
        "spark.network.timeout": "3600s",
        "spark.executor.heartbeatInterval": "600s",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master("local[1]").appName("millrace-tests")
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def plain(value):
    """As pyarrow's to_pylist() says it."""
    if isinstance(value, Row):
        return {name: plain(item) for name, item in value.asDict().items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=datetime.timezone.utc)
    return value


def rows_of(frame):
    return [plain(row) for row in frame.collect()]


def forget_tables(spark):
    """What Spark knows of tables' logs, so that the next query begins with the files as a new process would."""
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
