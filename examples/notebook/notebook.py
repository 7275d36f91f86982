"""From raw files to scored rows with PySpark and MLflow alone.

Apart from the two lines that open the session there is nothing here that belongs to Headrace:
the lineage of every table, run, model and prediction is read from the plans as they run.
"""

# %% The session: Spark Connect, no JVM
import mlflow
from pyspark.sql.functions import avg, col, max, struct, window
from sklearn.ensemble import RandomForestClassifier

import headrace

spark = headrace.spark()

# %% Raw files to a feature table
telemetry = spark.read.parquet("raw/telemetry")
features = (
    telemetry.groupBy(window("ts", "1 hour"), col("device_id"))
    .agg(
        avg("temperature").alias("temperature"),
        max("vibration").alias("vibration"),
        max("fails").alias("fails"),
    )
    .select("device_id", col("window.end").alias("hour"), "temperature", "vibration", "fails")
)
features.write.format("delta").mode("overwrite").saveAsTable("gold.features")

# %% A random forest
columns = ["temperature", "vibration"]
rows = spark.table("gold.features").toPandas()

mlflow.set_experiment("pump-failure")
with mlflow.start_run() as run:
    model = RandomForestClassifier(n_estimators=20, random_state=7)
    model.fit(rows[columns], rows["fails"])
    mlflow.log_param("n_estimators", 20)
    mlflow.log_metric("accuracy", model.score(rows[columns], rows["fails"]))
    mlflow.sklearn.log_model(
        model,
        name="model",
        signature=mlflow.models.infer_signature(rows[columns]),
        pip_requirements=["scikit-learn"],
        registered_model_name="pump_failure",
    )

# %% Its predictions
predict = mlflow.pyfunc.spark_udf(spark, "models:/pump_failure/1", result_type="long")
scored = spark.table("gold.features").withColumn("prediction", predict(struct(*columns)))
scored.write.format("delta").mode("overwrite").saveAsTable("gold.predictions")

spark.sql("SELECT prediction, count(*) AS rows FROM gold.predictions GROUP BY prediction").show()
print("run", run.info.run_id)
