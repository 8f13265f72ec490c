"""What the parity tests share: one Spark session, set up as a team would, and what has to be installed to have it."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterator
from typing import Any

import pytest


def missing() -> list[str]:
    """What these tests need and this machine does not have."""
    found = []
    for package in ("pyspark", "dbt-spark"):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} is not installed")
    return found if shutil.which("java") else [*found, "there is no Java"]


DEFAULTS = """
spark.master local[1]
spark.driver.memory 1g
spark.log.level ERROR
spark.sql.warehouse.dir {folder}/warehouse
spark.ui.enabled false
spark.ui.showConsoleProgress false
# To compile a statement takes longer than to interpret it for so few rows.
spark.driver.extraJavaOptions -XX:TieredStopAtLevel=1
spark.sql.adaptive.enabled false
spark.sql.codegen.factoryMode NO_CODEGEN
spark.sql.codegen.wholeStage false
spark.sql.shuffle.partitions 1
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if reasons := missing():
        for item in items:
            if "spark" in item.keywords:
                item.add_marker(pytest.mark.skip(reason=" and ".join(reasons)))


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Spark as ``spark-defaults.conf`` describes it, for this process and for dbt's."""
    from mlobs_pipelines.engine import spark

    folder = tmp_path_factory.mktemp("spark")
    (folder / "spark-defaults.conf").write_text(DEFAULTS.format(folder=folder), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SPARK_HOME", "SPARK_REMOTE", "MLOBS_SPARK_MASTER"):
            patch.delenv(name, raising=False)
        patch.setenv("SPARK_CONF_DIR", str(folder))
        found = spark.session()
        yield found
        found.stop()
