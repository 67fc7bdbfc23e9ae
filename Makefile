# `make` lists the targets. Those that need the environment make it first.

ENV   := .venv
PY    := $(ENV)/bin/python
STAMP := $(ENV)/.installed

PROFILE ?= default
PORT    ?= 5000
DEVICE  ?= auto

# Every variable given on the command line, apart from these, is a parameter of the notebooks.
# Make exports them to the recipes, so that values with spaces or quotes need no quoting here.
# Settings of the environment are taken too: the recipes see them as such.
SETTINGS := VAR_DIR MLFLOW_TRACKING_URI MLFLOW_ARTIFACT_ROOT OPTUNA_STORAGE DATABASE_URL QUEUE_URL \
	REGISTERED_MODEL_NAME LOG_LEVEL LOG_FORMAT \
	MONITOR_WINDOW_DAYS MONITOR_CHECKS MONITOR_SILENT_DAYS MONITOR_GROUPS MAX_MAE MAX_RMSE MIN_R2 MAX_DEGRADATION MAX_COVERAGE_LOSS \
	DRIFT_ALPHA DRIFT_MIN_EFFECT RETRAIN_AFTER_DAYS RETRAIN_AFTER_SAMPLES RETRAIN_LEARN_DAYS RETRAIN_PAUSE_DAYS \
	COST_OVER COST_UNDER REVENUE_PER_ACCURATE ACCURATE_WITHIN INVENTORY_SAVING
OWN    := $(SETTINGS) PROFILE FORCE RUN_DIR OUT PYTHON VERSION PORT PYTEST_ARGS API_ARGS ARGS PART TARGET IMAGE ENGINE DEVICE BUILD_ARGS RUN_ARGS API_KEYS ENV PY STAMP SHELL MAKE MAKEFLAGS
GIVEN   = $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(v)))),$(v)))
PASSED  = $(foreach v,$(sort $(filter-out $(OWN),$(GIVEN))),$(v)="$$$(v)")
# The shell's PWD stays the caller's under `make -C`: DATA is looked for there first.
OPTIONS = --profile "$(PROFILE)" $(if $(FORCE),--force) \
	$(if $(RUN_DIR),--run-dir "$(RUN_DIR)") --relative-to "$(PWD)"
CLI    = $(PY) -m lib.cli
# Kernels of this environment, not of another one that is installed for the user.
export JUPYTER_PREFER_ENV_PATH := 1

.DEFAULT_GOAL := help
.PHONY: help install lock lint format docs test test-slow test-3.13 test-services run-mlflow train pretrain tune backtest \
	explain promote rollback run-api run-worker bench-serving bench-accuracy bench-public bench-starts bench-pretraining bench-new-series bench-refit bench-speed bench-monitoring bench-planning example \
	screenshots test-page docker-build docker-run forecast forecast-arguments forecast-folder bench-robustness monitor plan check \
	simulate lab clean clean-var

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Parameters of the notebooks go behind the target:"
	@echo "  make train PROFILE=ci SEED=3 DATA=sales.csv VALUE_COLUMN=units"
	@echo "  $(ENV)/bin/lstm-forecast train --help lists them."

install: $(STAMP) ## Make the environment in .venv (conda, mamba or micromamba where there is one)

# With the pins of environment.yml either way; conda checks no hashes of what pip installs for it.
# A folder made one way is kept that way.
$(STAMP): environment.yml requirements.lock pyproject.toml
	@set -e; \
	tool=; for name in mamba micromamba conda; do \
	  if [ -z "$$tool" ] && command -v $$name >/dev/null 2>&1; then tool=$$name; fi; \
	done; \
	if [ -n "$$tool" ] && [ ! -e $(ENV)/pyvenv.cfg ]; then \
	  case $$tool-$$([ -d $(ENV)/conda-meta ] && echo there) in \
	    micromamba-) micromamba create --yes --prefix ./$(ENV) --file environment.yml ;; \
	    micromamba-there) micromamba update --yes --prefix ./$(ENV) --file environment.yml ;; \
	    *-there) $$tool env update --prefix ./$(ENV) --file environment.yml --prune ;; \
	    *) $$tool env create --prefix ./$(ENV) --file environment.yml ;; \
	  esac; \
	else \
	  python="$(PYTHON)"; for name in python3.11 python3 python; do \
	    if [ -z "$$python" ] && $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' \
	      >/dev/null 2>&1; then python=$$name; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "make install: no Python 3.11 with venv found; install it, or say PYTHON=/path/to/python3.11" >&2; \
	    exit 1; \
	  fi; \
	  [ -x $(PY) ] || "$$python" -m venv $(ENV); \
	  mkdir -p $(ENV)/requirements; \
	  for list in all cpu cuda; do \
	    $(PY) deploy/pins.py $$list > $(ENV)/requirements/$$list.txt; \
	  done; \
	  mv $(ENV)/requirements/all.txt $(ENV)/requirements/list.txt; \
	  sh deploy/install-hashed.sh $(ENV)/requirements $(PY); \
	fi; \
	$(PY) -m pip install --editable . --no-deps --no-build-isolation; \
	touch $@

LOCK := $(ENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header
lock: $(STAMP) ## Resolve environment.yml into requirements.lock, with the hash of every file (UPGRADE=1)
	sed -n 's/^      - \([A-Za-z].*\)$$/\1/p' environment.yml \
	  | $(LOCK) $(if $(UPGRADE),--upgrade) --output-file requirements.lock -
	echo 'ray[data]==2.60.0' \
	  | $(LOCK) --constraint requirements.lock --output-file deploy/requirements-forecast.txt -

lint: $(STAMP) ## Check format and style (ruff), types (ty) and who imports whom (import-linter)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m ty check --python $(ENV)
	$(ENV)/bin/lint-imports --no-cache

format: $(STAMP) ## Put the code into the format that lint expects
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

docs: $(STAMP) ## Build the documentation in site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

test: $(STAMP) ## Run the fast tests and the examples of lib, then the notebooks at their CI size (nbval)
	$(PY) -m pytest -m "not slow and not services" $(PYTEST_ARGS)
	$(PY) -m pytest --doctest-modules lib $(PYTEST_ARGS)
	$(PY) tests/notebooks.py

test-slow: $(STAMP) ## Run the slow tests as well
	$(PY) -m pytest -m "not services" $(PYTEST_ARGS)

# Another Python, in an environment of its own. PyTorch's CPU build is at hand for 3.11 only, so what
# needs it is left out; notebooks, page, documents and style are checked on 3.11 alone.
PY313 := .venv-3.13
ONLY_311 := torch|onnxscript|uv|jupyterlab|ipywidgets|nbval|playwright|axe-playwright-python|ruff|ty|import-linter|pre-commit|mkdocs-material|mkdocstrings-python
$(PY313)/.installed: environment.yml
	@set -e; \
	python=; for name in python3.13 "$$HOME"/.pyenv/versions/3.13.*/bin/python3.13; do \
	  if [ -z "$$python" ] && "$$name" -c 'import venv, ensurepip' >/dev/null 2>&1; then python=$$name; fi; \
	done; \
	if [ -z "$$python" ]; then exit 0; fi; \
	[ -x $(PY313)/bin/python ] || "$$python" -m venv $(PY313); \
	sed -n 's/^      - \([A-Za-z].*\)$$/\1/p' environment.yml | grep -Ev '^($(ONLY_311))==' \
	  > $(PY313)/requirements.txt; \
	$(PY313)/bin/python -m pip install --quiet --requirement $(PY313)/requirements.txt; \
	touch $@

test-3.13: $(PY313)/.installed ## Run the fast tests that need no torch on Python 3.13, where there is one
	@if [ ! -e $(PY313)/.installed ]; then echo "make test-3.13: SKIPPED, there is no python3.13"; exit 0; fi; \
	PYTHONPATH="$(CURDIR)" $(PY313)/bin/python -m pytest -p tests.without_torch \
	  -m "not slow and not services" tests/lib tests/serving $(PYTEST_ARGS)

test-services: $(STAMP) ## Run the tests that start PostgreSQL and other servers, where they are installed
	$(PY) -m pytest -m services $(PYTEST_ARGS)

run-mlflow: $(STAMP) ## Show runs and models at http://127.0.0.1:5000 (PORT=5000)
	@set -e; \
	setting() { $(PY) -c "from lib.settings import get_settings; print(get_settings().$$1)"; }; \
	store=$$(setting mlflow_tracking_uri); artifacts=$$(setting mlflow_artifact_root); \
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false exec $(PY) -m mlflow server --host 127.0.0.1 \
	  --port $(PORT) --workers 1 --backend-store-uri "$$store" \
	  --default-artifact-root "$$artifacts" --no-serve-artifacts

train: $(STAMP) ## The main job: data, tuning, training, gate, explanation (PROFILE=default, FORCE=1)
	@$(CLI) train $(OPTIONS) $(PASSED)

pretrain: $(STAMP) ## Make the zero-shot network again (DEVICE=auto|cpu|cuda ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m lib.training.pretraining --device "$(DEVICE)" $(ARGS)
	OMP_NUM_THREADS=1 $(PY) -m lib.training.pretrained_artifact

tune: $(STAMP) ## The main job up to the tuning
	@$(CLI) train --until 02_tuning $(OPTIONS) $(PASSED)

# A parameter of the notebooks, but for EFFORT, which is an option of the command.
BACKTEST_PASSED = $(foreach v,$(sort $(filter-out $(OWN) EFFORT,$(GIVEN))),$(v)="$$$(v)")
backtest: $(STAMP) ## Judge the forecaster on your data (DATA=sales.csv OUT=folder EFFORT=instant FUTURE=plans.csv COVARIATES=0)
	@if [ -z "$(OUT)" ]; then echo "make backtest: say where to: OUT=folder" >&2; exit 2; fi
	@OMP_NUM_THREADS=1 $(CLI) backtest --out "$(OUT)" $(if $(EFFORT),--effort "$(EFFORT)") $(OPTIONS) \
	  $(BACKTEST_PASSED)

explain: $(STAMP) ## The main job up to the explanation; what is done is not done again
	@$(CLI) explain $(OPTIONS) $(PASSED)

monitor: $(STAMP) ## Check forecasts against what came true: page and JSON in the run (RUN_DIR=, SOURCE=)
	@$(CLI) monitor $(if $(RUN_DIR),--run-dir "$(RUN_DIR)") $(PASSED)

plan: $(STAMP) ## How much is needed: totals, orders, scenarios of a trained model (LEAD_TIME=7 SERVICE_LEVEL=0.95)
	@$(CLI) plan $(if $(RUN_DIR),--run-dir "$(RUN_DIR)") $(PASSED)

check: $(STAMP) ## Check the model that is served, alert, retrain if AUTO_RETRAIN (ARGS="--help")
	@$(CLI) check $(ARGS)

simulate: $(STAMP) ## Replay a synthetic year through the real server, with a change in it (ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m tests.simulate $(ARGS)

promote: $(STAMP) ## Make a version of the model the production one (VERSION=n)
	@if [ -z "$(VERSION)" ]; then echo "make promote: say which: VERSION=n" >&2; exit 2; fi
	@$(CLI) promote --version "$(VERSION)"

rollback: $(STAMP) ## Go back to the production version before this one
	@$(CLI) rollback

run-worker: $(STAMP) ## Compute explanations in the background, as they are requested
	@exec $(CLI) worker

run-api: $(STAMP) ## Serve http://127.0.0.1:8000, and a worker beside it (PORT=8000 API_ARGS="--help")
	@exec $(CLI) serve \
	  $(if $(findstring command,$(origin PORT)),--port "$(PORT)") $(API_ARGS)

example: $(STAMP) ## Make the synthetic example of the page again (seeded)
	$(PY) -m tests.make_example

screenshots: $(STAMP) ## Pictures of the page in docs/screenshots, and its speed (Chromium, a model)
	$(PY) -m tests.screenshots

test-page: $(STAMP) ## Run the page's tests in Chromium (skipped where there is none)
	$(PY) -m pytest tests/serving/test_page_browser.py $(PYTEST_ARGS)

RAY := $(ENV)/.installed-ray
$(RAY): deploy/requirements-forecast.txt $(STAMP)
	$(PY) -m pip install --require-hashes --no-deps --requirement $<
	touch $@

# What is wrong is said before anything is installed.
forecast-arguments:
	@if [ -z "$(DATA)" ] || [ -z "$(OUT)" ]; then \
	  echo "make forecast: give the file of the past and the file to write: DATA=sales.csv OUT=next.csv" >&2; \
	  exit 2; fi
	@if [ ! -e "$(DATA)" ] && [ ! -e "$(PWD)/$(DATA)" ]; then \
	  echo "make forecast: DATA: there is no $(DATA); expected one CSV or Parquet file (join several), or a folder of Parquet" >&2; \
	  exit 2; fi
	@if [ -d "$(DATA)" ] && [ -z "$$(find -L "$(DATA)" -name '*.parquet' -print -quit)" ]; then \
	  echo "make forecast: DATA: there is no Parquet file in $(DATA); join CSV files into one, or write them as Parquet" >&2; \
	  exit 2; fi

# A parameter of the notebooks, but for these, which are options of the command.
FORECAST_PASSED = $(foreach v,$(sort $(filter-out $(OWN) EFFORT FUTURE ENDED TOTALS TOTALS_BY,$(GIVEN))),$(v)="$$$(v)")
forecast: forecast-arguments $(STAMP) ## Forecast the coming days of a file (DATA=sales.csv OUT=next.csv EFFORT= FUTURE= TOTALS=7,28)
	@if [ -d "$(DATA)" ]; then exit 0; fi; \
	OMP_NUM_THREADS=1 $(CLI) forecast --out "$(OUT)" $(if $(EFFORT),--effort "$(EFFORT)") \
	  $(if $(FUTURE),--future "$(FUTURE)") $(if $(ENDED),--include-ended) \
	  $(if $(TOTALS),--totals "$(TOTALS)") $(if $(TOTALS_BY),--totals-by "$(TOTALS_BY)") \
	  --relative-to "$(PWD)" $(FORECAST_PASSED)
	@if [ -d "$(DATA)" ]; then $(MAKE) --no-print-directory forecast-folder; fi

# A folder of Parquet files, by Ray: `make forecast DATA=folder OUT=folder MODEL=folder`.
forecast-folder: $(RAY)
	@OMP_NUM_THREADS=1 $(PY) -m lib.pipeline.batch_forecast --data "$(DATA)" --out "$(OUT)" \
	  $(if $(MODEL),--model "$(MODEL)") $(if $(TOTALS),--totals "$(TOTALS)") \
	  $(if $(TOTALS_BY),--totals-by "$(TOTALS_BY)") $(ARGS)

docker-build: ## Build the image with docker, podman or buildah (TARGET=serving, worker or train)
	deploy/container.sh build $(or $(TARGET),serving)

docker-run: $(STAMP) ## Serve from the image at http://127.0.0.1:8000; needs API_KEYS, in .env or here
	deploy/container.sh run $(API_ARGS)

bench-serving: $(STAMP) ## Load ours, MLflow's server and FastAPI + torch by wrk (ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.serving.bench $(ARGS)

PEERS := benchmarks/accuracy/.venv
# What a comparison needs; for `--help` nothing more than the project's environment
COMPARISON = $(if $(filter --help -h,$(ARGS)),$(STAMP),$(PEERS)/.installed)
$(PEERS)/.installed: benchmarks/accuracy/requirements.txt | $(STAMP)
	$(PY) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement $<
	touch $@

bench-accuracy: $(COMPARISON) ## Compare forecasts with those of other systems (ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.accuracy.bench $(ARGS)

bench-public: $(STAMP) ## Score ours on the split of a public leaderboard, beside its rows (ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.accuracy.public $(ARGS)

bench-starts: $(STAMP) ## Fits from random weights and from the pretrained network (ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.accuracy.starts $(ARGS)

bench-pretraining: $(STAMP) ## Networks pretrained without one ingredient each, on little (ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.accuracy.pretraining $(ARGS)

bench-new-series: $(STAMP) ## Forecast series of which only the last days are known (ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.accuracy.new_series $(ARGS)

bench-refit: $(STAMP) ## A network that has learned every known day beside its twin (ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.accuracy.refitting $(ARGS)

bench-robustness: $(COMPARISON) ## Measure how accuracy falls as data gets worse (ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.accuracy.robustness $(ARGS)

bench-speed: $(COMPARISON) ## Measure training, tuning, explaining and more (ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.speed.bench $(ARGS)

lab: $(STAMP) ## Open the notebooks in JupyterLab (PORT=8888)
	$(PY) -m jupyterlab --ServerApp.root_dir=notebooks $(if $(filter 0,$(shell id -u)),--allow-root) \
	  $(if $(findstring command,$(origin PORT)),--port "$(PORT)")

bench-monitoring: $(STAMP) ## Error rates of the monitoring's bounds (PART=delays or million; ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.monitoring.$(or $(PART),bench) $(ARGS)

bench-planning: $(STAMP) ## What the intervals of totals, orders and scenarios cover (ARGS="--help")
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.planning.bench $(ARGS)

clean: ## Remove caches; keeps the environment and var/
	rm -rf .pytest_cache .ruff_cache .hypothesis build dist site
	find . -path ./$(ENV) -prune -o -path ./$(PEERS) -prune -o -path ./var -prune -o \
	  \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +

clean-var: ## Delete var/: all runs, models, studies and predictions kept here
	@echo "deleting $(CURDIR)/var:"; du -sh var/* 2>/dev/null || true
	rm -rf var
