# Every target makes the environment first where it is missing: `make demo` works in a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOME_DIR ?= mlobs_home
READY := $(VENV)/.ready

.PHONY: install install-spark demo test check dev bench bench-quick bench-peers clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.x")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

install-spark: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[spark]'

demo: $(READY)
	$(BIN)/mlobs --home $(HOME_DIR) demo

test: $(READY)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

dev: $(READY)
	MLOBS_HOME=$(abspath $(HOME_DIR)) DAGSTER_HOME=$$($(BIN)/python -m mlobs_pipelines.orchestration.instance $(abspath $(HOME_DIR))) \
		$(BIN)/dagster dev --workspace workspace.yaml --host 127.0.0.1

bench-quick: $(READY)
	$(BIN)/python -m benchmarks.speed.quick

# Evidently, NannyML, whylogs and fairlearn beside ours, each in an environment of its own below .bench
bench-peers: $(READY)
	$(BIN)/python -m benchmarks.speed.environments
	$(BIN)/python -m benchmarks.speed.peers --write

bench: bench-quick

clean:
	rm -rf $(VENV) .bench build dist *.egg-info
