"""Where there is no Spark, one line says what to install."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

from mlobs_pipelines.engine import spark


def without(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == module else find(name, *rest))


def test_without_pyspark_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "pyspark")
    with pytest.raises(spark.SparkError, match=r"pip install 'mlobs_pipelines\[spark\]'$"):
        spark.session()


def test_without_java_a_runtime_is_asked_for_unless_spark_is_remote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: object())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for name in ("JAVA_HOME", "SPARK_REMOTE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(spark.SparkError, match="needs Java 17 or newer"):
        spark.check()
    monkeypatch.setenv("SPARK_REMOTE", "sc://spark.internal:15002")
    spark.check()
