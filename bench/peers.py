"""The peers' own environments, made on first use under ``.bench/peers``."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

SPARK = "pyspark==4.1.2"
DELTA = ("delta-spark_2.13", "4.1.0")
SPARK_UDF = (
    SPARK, "mlflow==3.17.2", "scikit-learn==1.9.1", "lightgbm==4.7.0", "pandas==2.3.3",
    "pyarrow==25.0.1", "skops==0.14.0",
)  # fmt: skip
COLUMNAR = ("duckdb==1.5.5", "polars==2.1.0")

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>bench</groupId><artifactId>jars</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>io.delta</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
    <exclusions>
      <exclusion><groupId>org.apache.spark</groupId><artifactId>*</artifactId></exclusion>
      <exclusion><groupId>org.scala-lang</groupId><artifactId>*</artifactId></exclusion>
      <exclusion><groupId>org.apache.logging.log4j</groupId><artifactId>*</artifactId></exclusion>
      <exclusion><groupId>org.slf4j</groupId><artifactId>*</artifactId></exclusion>
    </exclusions>
  </dependency></dependencies>
</project>
"""


def environment(home: Path, name: str, packages: tuple[str, ...]) -> Path:
    """The interpreter of a peer's environment."""
    folder = home / "peers" / name
    python = folder / "bin" / "python"
    stamp = folder / ".packages"
    wanted = " ".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = Path(sys.executable).parent / "uv"
        run = partial(subprocess.run, check=True, capture_output=True, text=True, timeout=900)
        run([uv, "venv", "-q", "--clear", "--python", sys.executable, folder])
        run([uv, "pip", "install", "-q", "--python", python, *packages])
        stamp.write_text(wanted)
    return python


def delta_jars(home: Path) -> Path:
    """Delta's jars for Apache Spark, fetched with Maven."""
    folder = home / "peers" / f"delta-{DELTA[1]}"
    if not any(folder.glob("delta-spark*.jar")):
        folder.mkdir(parents=True, exist_ok=True)
        pom = folder / "pom.xml"
        pom.write_text(_POM.format(artifact=DELTA[0], version=DELTA[1]))
        subprocess.run(
            ["mvn", "-q", "-f", str(pom), "dependency:copy-dependencies",
             "-DincludeScope=runtime", f"-DoutputDirectory={folder}"],
            check=True,
        )  # fmt: skip
    return folder
