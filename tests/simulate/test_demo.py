"""The demo's queries are read-only SQL over the tables that people are told of."""

from __future__ import annotations

import re

from mlobs_pipelines.simulate.demo import DEMO_QUERIES


def test_there_are_three_queries_worth_typing() -> None:
    assert len(DEMO_QUERIES) == 3
    for title, query in DEMO_QUERIES:
        assert title
        assert query.startswith("select ")
        assert '"' not in query, "it is typed between double quotes"
        tables = re.findall(r"\bfrom (\w+)", query)
        assert set(tables) <= {"metrics", "latest_metrics", "model_health", "version_comparison"}
