"""Which streaming SQL needs rows of earlier batches."""

from __future__ import annotations

import pytest

from headrace.pipeline.stateful import stateful


def reason(query: str) -> str | None:
    from pyspark.sql.connect.proto import Relation

    relation = Relation()
    relation.sql.query = query
    return stateful(relation, {})


@pytest.mark.parametrize(
    "query",
    [
        "SELECT a, b + 1 AS c FROM STREAM x WHERE d",
        "SELECT greatest(a, b), array_max(c), date_trunc('hour', t) FROM STREAM x",
        "SELECT * FROM STREAM a JOIN b USING (i)",
        "SELECT * FROM STREAM a LEFT JOIN b USING (i)",
        "SELECT * FROM STREAM a LEFT ANTI JOIN b USING (i)",
        "SELECT * FROM b RIGHT JOIN STREAM a USING (i)",
        "SELECT * FROM STREAM a UNION ALL SELECT * FROM STREAM b",
        "SELECT * FROM STREAM x JOIN (SELECT k, max(v) AS v FROM s GROUP BY k) USING (k)",
        "SELECT a, (SELECT max(b) FROM t) AS m FROM STREAM x",
        "SELECT count(*) FROM t GROUP BY a ORDER BY a LIMIT 3",
    ],
)
def test_each_batch_by_itself(query: str) -> None:
    assert reason(query) is None


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT count(*) FROM STREAM(x)", "count, an aggregation"),
        ("SELECT a FROM STREAM x GROUP BY a", "An aggregation"),
        ("SELECT DISTINCT a FROM STREAM x", "DISTINCT"),
        ("SELECT a FROM STREAM x ORDER BY a", "Sorting"),
        ("SELECT a FROM STREAM x LIMIT 3", "LIMIT"),
        ("SELECT row_number() OVER (ORDER BY a) FROM STREAM x", "A window function"),
        ("SELECT * FROM STREAM a, STREAM b", "A join of two streams"),
        ("SELECT * FROM STREAM a JOIN STREAM b USING (i)", "A join of two streams"),
        ("SELECT * FROM b LEFT JOIN STREAM a USING (i)", "An outer join"),
        ("SELECT * FROM STREAM a RIGHT JOIN b USING (i)", "An outer join"),
        ("SELECT * FROM STREAM a FULL JOIN b USING (i)", "An outer join"),
        ("SELECT * FROM a LEFT SEMI JOIN STREAM b USING (i)", "An outer join"),
        ("SELECT * FROM STREAM a UNION SELECT * FROM STREAM b", "UNION"),
        ("SELECT * FROM STREAM a EXCEPT SELECT * FROM b", "UNION, EXCEPT"),
        ("WITH q AS (SELECT * FROM STREAM x) SELECT max(a) FROM q", "max, an aggregation"),
        ("SELECT * FROM (SELECT a FROM STREAM x GROUP BY a)", "An aggregation"),
    ],
)
def test_refused(query: str, words: str) -> None:
    assert (reason(query) or "").startswith(words)
