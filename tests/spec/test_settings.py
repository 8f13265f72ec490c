"""A home's own settings, and what is said of wrong ones."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.errors import SpecError
from mlobs_pipelines.spec.settings import HomeSettings, load_settings
from tests.spec.language import BINARY, parse


@pytest.fixture
def given(tmp_path):
    def load(text, **environment):
        (tmp_path / "mlobs.yaml").write_text(text, encoding="utf-8")
        return load_settings(tmp_path, environment)

    return load


def test_a_home_without_a_file_or_with_comments_alone_has_the_defaults(tmp_path, given):
    assert load_settings(tmp_path, {}) == HomeSettings()
    assert given("# storage: s3://bucket\n\n") == HomeSettings()


def test_options_have_the_types_that_file_systems_take_and_credentials_stay_text(given):
    found = given(
        "storage: s3://bucket/homes/\n"
        "storage_lease: 5m\n"
        'storage_options: {key: "123", secret: "${SECRET}", anon: false, config_kwargs: {connect_timeout: 5}}\n',
        SECRET="true",
    )
    assert found.storage == "s3://bucket/homes"
    assert found.storage_lease == timedelta(minutes=5)
    assert found.storage_options == {
        "key": "123",
        "secret": "true",
        "anon": False,
        "config_kwargs": {"connect_timeout": 5},
    }


def test_the_environment_goes_before_the_file(given):
    assert given("storage: s3://file", MLOBS_STORAGE="s3://other/").storage == "s3://other"
    assert given("storage: s3://file", MLOBS_STORAGE="").storage == "s3://file"
    with pytest.raises(SpecError, match=r"^MLOBS_STORAGE: 'bucket' is no URL"):
        given("", MLOBS_STORAGE="bucket")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("storge: s3://x", r"mlobs.yaml:1: storge: is no key of the settings; did you mean 'storage'\?"),
        ("engine: sparc", r"mlobs.yaml:1: engine: 'sparc' is not one of duckdb, spark; did you mean 'spark'\?"),
        ("storage: bucket", r"mlobs.yaml:1: storage: 'bucket' is no URL; write for example s3://bucket/prefix"),
        ("storage: s3://x\nstorage_lease: soon", r"mlobs.yaml:2: storage_lease: 'soon' is not a duration"),
        ("storage_lease: 0s", r"mlobs.yaml:1: storage_lease: '0s' must be greater"),
        ("storage_options: 3", r"mlobs.yaml:1: storage_options: '3', where a mapping is needed"),
        ("storage: ${NOWHERE}", r"mlobs.yaml:1: storage: environment variable NOWHERE is not set"),
        ("- storage", r"mlobs.yaml:1: is not a mapping"),
        ("compact_after: 1d", r"mlobs.yaml:1: compact_after: '1d' must be greater"),
        (
            "retention: {metrcs: 400d}",
            r"mlobs.yaml:1: retention.metrcs: 'metrcs' is no table; did you mean 'metrics'\?",
        ),
        (
            "retention:\n  runs: 90d\n  labels: 400d",
            r"mlobs.yaml:3: retention.labels: labels is kept for good",
        ),
        ("retention: {metrics: 12h}", r"mlobs.yaml:1: retention.metrics: 12h is not a whole number of days"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(given, text, said):
    with pytest.raises(SpecError, match=said):
        given(text)


def test_a_model_goes_before_its_home(given):
    home = given("engine: ${ENGINE}", ENGINE="spark")
    assert home.engine_of(parse(BINARY)) == "spark"
    assert home.engine_of(parse(BINARY + "engine: duckdb\n")) == "duckdb"
    assert HomeSettings().engine_of(parse(BINARY)) == "duckdb"
    assert HomeSettings().engine_of(parse(BINARY + "engine: spark\n")) == "spark"


def test_of_each_table_the_models_own_retention_goes_before_its_homes(given):
    home = given("retention: {metrics: 400d, quarantine: 1d}")
    found = home.retention_of(parse(BINARY + "retention: {metrics: 200d, runs: 300d}\n"))
    assert {table: length.days for table, length in found.items()} == {"metrics": 200, "quarantine": 1, "runs": 300}
    assert HomeSettings().retention_of(parse(BINARY)) == {}


@pytest.mark.parametrize(
    ("table", "text", "least"),
    [
        ("metrics", "", 91),
        ("metrics", "monitors: {windows: [1d, 90d]}\n", 120),
        ("predictions", "", 30 + 28 + 28),
        ("quarantine", "", 1),
    ],
)
def test_what_later_nights_need_is_kept_for_as_long(given, table, text, least):
    spec = parse(BINARY + "  maturity: 30d\n" + text)
    assert given(f"retention: {{{table}: {least}d}}").retention_of(spec)[table].days == least
    if least > 1:
        home = given(f"retention: {{{table}: {least - 1}d}}")
        with pytest.raises(UserError, match=rf"mlobs\.yaml: retention\.{table}: .* for fraud; give {least}d or more"):
            home.retention_of(spec)
