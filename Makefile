# Two commands do all the set-up: `make run` does the main job, `make test` passes the tests.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test check bench lock fixture clean
.DEFAULT_GOAL := run

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed; name yours: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Making the environment in $(VENV) (a minute or two, once) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

run: $(READY)
	@$(BIN)/nightgate run breast_cancer

test: check
	@$(BIN)/python -m pytest -n 2 --cov --cov-report=term:skip-covered

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache

bench: $(READY)
	@$(BIN)/python -m benchmarks

LOCK := uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11

lock:
	$(LOCK) --group dev pyproject.toml -o requirements.lock
	$(LOCK) --no-annotate -c requirements.lock --group serving -o deployments/serving.lock
	$(LOCK) --no-annotate -c requirements.lock --extra postgresql --extra s3 --extra redis --extra dask --extra fast pyproject.toml -o deployments/worker.lock
	$(LOCK) --no-annotate --group mlflow -o deployments/mlflow.lock

fixture: $(READY)
	@$(BIN)/python -m tests.fixtures.making

clean:
	rm -rf $(VENV) .nightgate
