"""A folder of specs: each file stands or falls by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlobs_pipelines.spec import SpecError, load_all, load_spec, resolve_source
from tests.spec.language import BINARY, REGRESSION


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_a_broken_spec_takes_down_its_own_model_only(tmp_path: Path) -> None:
    write(tmp_path, fraud=BINARY, bikes=REGRESSION, broken="model: [", misspelt=BINARY.replace("task", "tsak"))
    specs, errors = load_all(tmp_path)
    assert sorted(specs) == ["bikes", "fraud"]
    assert sorted(errors) == ["broken", "misspelt"]
    assert "broken.yaml:" in str(errors["broken"])


def test_a_model_has_the_name_of_its_file(tmp_path: Path) -> None:
    write(tmp_path, other=BINARY)
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "other.yaml")
    said = "other.yaml:1: model: 'fraud' is not the file's name; write model: other, or rename the file to fraud.yaml"
    assert str(caught.value).endswith(said)


def test_of_two_files_of_one_model_the_one_of_another_name_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, fraud=BINARY, another=BINARY, zebra=BINARY)
    specs, errors = load_all(tmp_path)
    assert list(specs) == ["fraud"]
    assert sorted(errors) == ["another", "zebra"]


def test_names_that_differ_by_case_only_are_an_error_of_the_second(tmp_path: Path) -> None:
    write(tmp_path, fraud=BINARY, Fraud=BINARY.replace("model: fraud", "model: Fraud"))
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("the file system knows no case")
    specs, errors = load_all(tmp_path)
    assert list(specs) == ["Fraud"]
    assert "'fraud' differs from the model of Fraud.yaml by upper and lower case only" in str(errors["fraud"])


def test_a_file_that_would_not_be_read_is_told(tmp_path: Path) -> None:
    write(tmp_path, fraud=BINARY)
    (tmp_path / "bikes.yml").write_text(REGRESSION, encoding="utf-8")
    (tmp_path / "fraud.yml").write_text(BINARY, encoding="utf-8")
    (tmp_path / ".fraud.yaml.1-2.draft").write_text("x", encoding="utf-8")
    (tmp_path / ".hidden.yaml").write_text("x", encoding="utf-8")
    (tmp_path / "README.md").write_text("x", encoding="utf-8")
    specs, errors = load_all(tmp_path)
    assert list(specs) == ["fraud"]
    assert sorted(errors) == ["bikes", "fraud.yml"]
    assert str(errors["bikes"]).endswith("bikes.yml: is not read; rename it to bikes.yaml")


def test_a_folder_that_is_not_there_or_empty_has_no_models(tmp_path: Path) -> None:
    assert load_all(tmp_path) == ({}, {})
    assert load_all(tmp_path / "gone") == ({}, {})


def test_a_file_below_here_is_named_as_one_would_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    write(tmp_path / "models", fraud="model: fraud\ntask: binray\n")
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "models" / "fraud.yaml")
    assert str(caught.value).startswith("models/fraud.yaml:1: ")


def test_a_source_is_relative_to_the_home_unless_it_says_where_it_is() -> None:
    root = Path("/home/x")
    assert resolve_source("data/*.parquet", root) == ["/home/x/data/*.parquet"]
    given = [
        "a b/c.csv",
        "/abs/d.csv",
        "s3://b/k/*.parquet",
        "file:///e.csv",
        "simplecache::s3://b/k",
        "w.duckdb#t",
        "c:d",
    ]
    assert resolve_source(given, root) == ["/home/x/a b/c.csv", *given[1:5], "/home/x/w.duckdb#t", "/home/x/c:d"]
