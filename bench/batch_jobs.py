"""The jobs that ``make bench-batch`` measures, each in a process of its own.

Every one reads the Delta table ``rows``, predicts the probability of the second class for each
row, and writes key and prediction to a Delta table, once cold and then again and again. Prints
one JSON object: seconds from the process's start to the first table, and of each run after it.
"""

import json
import sys
import time

BEGAN = time.perf_counter()


def headrace_score(files: str, model: str, rows: str, target: str, runs: int) -> list[float]:
    """``headrace score --full``: with checks of the key, row digests, record and lineage."""
    from pathlib import Path

    from headrace.scoring import PredictionSpec, score
    from headrace.workspace import open_workspace

    del files, rows
    workspace = open_workspace(Path.cwd())
    spec = PredictionSpec(table=target, model=f"{model}@production", input="gold.rows", key=["key"])
    return timed(lambda: score(workspace, spec, full=True), runs)


def headrace_map(files: str, model: str, rows: str, target: str, runs: int) -> list[float]:
    """The kernel alone through ``mapInArrow``: what a Spark user would write by hand."""
    import os
    from pathlib import Path

    from headrace.scoring.predict import predictor
    from headrace.scoring.scorers import KERNEL_CHUNK_ROWS, KernelScorer
    from headrace.workspace import open_workspace

    del model
    spark = open_workspace(Path.cwd()).spark()
    kernel = Path(files) / "kernel"
    digest = json.loads((kernel / "kernel.json").read_bytes())["digest"]
    types = dict.fromkeys(columns(files), "double")
    scorer = KernelScorer(digest, str(kernel), None, types, frozenset(), KERNEL_CHUNK_ROWS)
    function = predictor(scorer, ["key"], [("score", "double")])

    def run() -> None:
        frame = spark.read.format("delta").load(rows).repartition(os.cpu_count())
        scored = frame.mapInArrow(function, "key bigint, score double")
        scored.write.format("delta").mode("overwrite").save(target)

    return timed(run, runs)


def spark(files: str, model: str, rows: str, target: str, runs: int) -> list[float]:
    """``mlflow.pyfunc.spark_udf`` on Apache Spark, set up for two cores as its guide says."""
    import os
    from pathlib import Path

    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable  # of the workers, which else take python3
    jars = ",".join(sorted(str(jar) for jar in Path(os.environ["DELTA_JARS"]).glob("*.jar")))
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", jars)
        .config("spark.driver.memory", "8g")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "10000")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config(
            "spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog"
        )
        .getOrCreate()
    )
    return spark_udf(session, files, model, rows, target, runs)


def spark_udf(session, files: str, model: str, rows: str, target: str, runs: int) -> list[float]:
    import mlflow.pyfunc
    from pyspark.sql import functions as F

    # A forest gives both classes a row, LightGBM the probability of the second.
    kind = "array<double>" if model == "forest" else "double"
    predict = mlflow.pyfunc.spark_udf(
        session, f"{files}/mlflow", result_type=kind, env_manager="local"
    )
    names = columns(files)

    def run() -> None:
        score = predict(F.struct(*names))
        if model == "forest":
            score = score[1]
        frame = session.read.format("delta").load(rows)
        frame.select("key", score.alias("score")).write.format("delta").mode("overwrite").save(
            target
        )

    return timed(run, runs)


def plain(files: str, model: str, rows: str, target: str, runs: int) -> list[float]:
    """scikit-learn or LightGBM in one process, one thread."""
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    predict = plain_model(files, model)
    names = columns(files)

    def run() -> None:
        table = DeltaTable(rows).to_pyarrow_table()
        score = predict(table.select(names).to_pandas())
        write_deltalake(target, pa.table({"key": table["key"], "score": score}), mode="overwrite")

    return timed(run, runs)


def plain_memory(files: str, model: str, rows: str, target: str, runs: int) -> list[float]:
    """The same from and to memory: the call of ``predict_proba`` alone."""
    from deltalake import DeltaTable

    del target
    predict = plain_model(files, model)
    frame = DeltaTable(rows).to_pyarrow_table().select(columns(files)).to_pandas()
    return timed(lambda: predict(frame), runs)


def plain_model(files: str, model: str):
    if model == "forest":
        import joblib

        forest = joblib.load(f"{files}/model.joblib").set_params(n_jobs=1)
        return lambda frame: forest.predict_proba(frame)[:, 1]
    import lightgbm

    booster = lightgbm.Booster(model_file=f"{files}/model.bst", params={"num_threads": 1})
    return lambda frame: booster.predict(frame, num_threads=1)


def columns(files: str) -> list[str]:
    from pathlib import Path

    names: list[str] = json.loads((Path(files) / "rows.json").read_text())["columns"]
    return names


def timed(run, runs: int) -> list[float]:
    run()
    seconds = [time.perf_counter() - BEGAN]
    for _ in range(runs):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return seconds


JOBS = {
    "headrace-score": headrace_score,
    "headrace-map": headrace_map,
    "spark": spark,
    "plain": plain,
    "plain-memory": plain_memory,
}

if __name__ == "__main__":
    job, files, model, rows, target, runs = sys.argv[1:]
    seconds = JOBS[job](files, model, rows, target, int(runs))
    print(json.dumps({"cold": seconds[0], "warm": seconds[1:]}))
