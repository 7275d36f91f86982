"""Statements and commands that are refused by name, each with what to do instead."""

from __future__ import annotations

from typing import Final

from headrace.engine.errors import UnsupportedStatementError

_NOT_RECORDED: Final = "it would change a table without a record of what it did"

# First words of the statement, the longest first: reason, what to do instead.
STATEMENTS: Final = {
    "RESTORE": (
        _NOT_RECORDED,
        "INSERT OVERWRITE t SELECT * FROM t VERSION AS OF n",
    ),
    "ALTER TABLE": (
        "tables change with the rows that are written to them",
        '.option("mergeSchema", "true") adds columns, .option("overwriteSchema", "true") replaces them',
    ),
    "ALTER VIEW": ("a view is replaced as a whole", "CREATE OR REPLACE VIEW v AS SELECT ..."),
    "ALTER": ("the catalog keeps names of tables and views alone", "DROP and CREATE"),
    "CACHE": ("rows that are kept would hide newer versions", "save the rows to a table"),
    "UNCACHE": ("nothing is cached", "leave it out"),
    "CLEAR": ("nothing is cached", "leave it out"),
    "ANALYZE": ("no statistics are kept beside those of Delta", "leave it out"),
    "MSCK": ("Delta finds its partitions in its log", "leave it out"),
    "REPAIR": ("Delta finds its partitions in its log", "leave it out"),
    "COMMENT": (
        "a comment is given when a table is created",
        "CREATE OR REPLACE TABLE t COMMENT '...' AS SELECT ...",
    ),
    "COPY": (
        "the files it loads cannot be recorded",
        "INSERT INTO t SELECT * FROM parquet.`path`, or a streaming table in a pipeline",
    ),
    "LOAD": (
        "the files it loads cannot be recorded",
        "INSERT INTO t SELECT * FROM parquet.`path`",
    ),
    "CREATE MATERIALIZED": (
        "a materialized view is refreshed by a pipeline",
        "put the statement in a .sql file under transformations/ and run `headrace run`",
    ),
    "CREATE STREAMING": (
        "a streaming table is refreshed by a pipeline",
        "put the statement in a .sql file under transformations/ and run `headrace run`",
    ),
    "CREATE FLOW": (
        "a flow belongs to a pipeline",
        "put the statement in a .sql file under transformations/ and run `headrace run`",
    ),
    "CREATE FUNCTION": (
        "the tables that a function reads could not be recorded",
        "spark.udf.register(name, function)",
    ),
    "CREATE CATALOG": ("a catalog is a part of a table's name", "CREATE SCHEMA catalog.schema"),
    "DROP FUNCTION": ("functions end with their session", "leave it out"),
    "DROP CATALOG": ("a catalog is a part of a table's name", "DROP SCHEMA catalog.schema CASCADE"),
    "UNDROP": ("the files of a dropped table are gone", "read it again from its sources"),
    "SET": ("settings are made through the session", 'spark.conf.set("key", "value")'),
    "RESET": ("settings are made through the session", 'spark.conf.unset("key")'),
    "CALL": ("the tables behind a procedure cannot be told", "the statement for what it does"),
    "EXECUTE": ("the tables in a text made at run time cannot be told", "spark.sql(text)"),
    "DECLARE": ("session variables are not supported", 'spark.sql("... :name", args={"name": 1})'),
    "BEGIN": ("scripts are not supported", "one spark.sql(...) for each statement"),
    "GRANT": ("the catalog keeps no grants", "file permissions of the warehouse"),
    "REVOKE": ("the catalog keeps no grants", "file permissions of the warehouse"),
    "ADD": ("files reach the server through the session", "spark.addArtifacts(path)"),
    "LIST": ("files reach the server through the session", "spark.addArtifacts(path)"),
    "LOCK": ("Delta needs no locks", "leave it out"),
    "UNLOCK": ("Delta needs no locks", "leave it out"),
    "CONVERT": (
        "the files would become part of a table without a record",
        "spark.read.parquet(path).write.saveAsTable(name)",
    ),
    "GENERATE": ("manifest files are not kept", "read the Delta table"),
    "REORG": (_NOT_RECORDED, "OPTIMIZE t"),
    "FSCK": (_NOT_RECORDED, "INSERT OVERWRITE t SELECT * FROM t"),
}

COMMANDS: Final = {
    "write_stream_operation_start": (
        "writeStream",
        "outside a pipeline nothing remembers which rows were written already",
        "a streaming table in transformations/, refreshed by `headrace run`",
    ),
    "checkpoint_command": (
        "checkpoint",
        "rows that are kept would hide where they came from",
        "save the rows to a table and read it",
    ),
    "ml_command": (
        "pyspark.ml on Spark Connect",
        "the engine trains no models",
        "df.toPandas() and scikit-learn, LightGBM or XGBoost",
    ),
    "pipeline_command": (
        "A pipeline command",
        "pipelines are run by Headrace itself",
        "headrace run",
    ),
}


def statement(words: tuple[str, str]) -> UnsupportedStatementError | None:
    """The refusal of a statement that begins with these two words, if it is refused."""
    for name in (" ".join(words), words[0]):
        if name in STATEMENTS:
            reason, instead = STATEMENTS[name]
            return UnsupportedStatementError(name, reason, instead)
    return None


def command(kind: str) -> UnsupportedStatementError:
    """The refusal of a Spark Connect command."""
    name, reason, instead = COMMANDS.get(
        kind,
        (
            f"The command {kind}",
            "the tables it touches could not be recorded",
            "see docs/engine.md for what a session can do",
        ),
    )
    return UnsupportedStatementError(name, reason, instead)
