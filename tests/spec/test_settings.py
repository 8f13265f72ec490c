"""What holds for a whole home: its file is read as strictly as a model's."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlobs_pipelines.spec import SpecError
from mlobs_pipelines.spec.settings import HomeSettings, load_settings, parse_settings
from tests.spec.language import BINARY, parse


def said(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_settings(text, file="mlobs.yaml", environment={})
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("text", ["", "\n", "# engine: spark\n"])
def test_a_file_that_says_nothing_leaves_the_defaults(text: str) -> None:
    assert parse_settings(text, file="mlobs.yaml") == HomeSettings()


def test_no_file_leaves_the_defaults(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "mlobs.yaml") == HomeSettings()


def test_a_model_goes_before_its_home() -> None:
    home = parse_settings("engine: ${ENGINE}", file="mlobs.yaml", environment={"ENGINE": "spark"})
    assert home.engine_of(parse(BINARY)) == "spark"
    assert home.engine_of(parse(BINARY + "engine: duckdb\n")) == "duckdb"
    assert HomeSettings().engine_of(parse(BINARY)) == "duckdb"
    assert HomeSettings().engine_of(parse(BINARY + "engine: spark\n")) == "spark"


def test_a_problem_names_file_line_key_and_the_nearest_spelling() -> None:
    assert said("engin: spark") == ["mlobs.yaml:1: engin: is no key of the settings; did you mean 'engine'?"]
    assert said("\nengine: sparc") == [
        "mlobs.yaml:2: engine: 'sparc' is not one of duckdb, spark; did you mean 'spark'?"
    ]
    assert said("- engine") == [
        "mlobs.yaml:1: is not a mapping of keys, such as model: my_model",
    ]
