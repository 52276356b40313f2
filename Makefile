# Gihan: every command a developer or an operator of one machine needs. `make` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# A stamp names the lock file it was made from, so that nothing installs twice.
RUN_STAMP := $(VENV)/.run-$(shell cat requirements.txt pyproject.toml | cksum | cut -d' ' -f1)
DEV_STAMP := $(VENV)/.dev-$(shell cat requirements.txt requirements-dev.txt pyproject.toml | cksum | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check unit simulation servers integration system test-faults faults-random faults-failpoints faults-simulated \
	chaos chaos-full power-cut cluster mutants \
	contracts lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(RUN_STAMP):
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	rm -f $(VENV)/.run-*; touch $@

$(DEV_STAMP): $(RUN_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-dev.txt
	rm -f $(VENV)/.dev-*; touch $@

demo: $(RUN_STAMP) ## a working week of five cities through the whole system, under two minutes
	$(BIN)/gihan demo $(DEMO)

test: check ## check, unit, integration and one system test: under six minutes
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target unit servers

servers: $(DEV_STAMP) ## what needs real servers: integration and system
	$(MAKE) --no-print-directory integration
	$(MAKE) --no-print-directory system

test-all: test simulation mutants chaos-full cluster power-cut ## everything there is: as root, some hours

check: $(DEV_STAMP) ## style, types, layers, drift of generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m contracts.generate --check

unit: $(DEV_STAMP) ## the pure core, without any server
	$(BIN)/pytest tests/unit tests/simulation

simulation: $(DEV_STAMP) ## two thousand seeded histories of the shell in a simulated world (SEED=n for the first, SEEDS=n)
	PYTHONHASHSEED=0 PYTHONPATH=. $(BIN)/python tests/simulation/run.py --seed $(or $(SEED),1) --seeds $(or $(SEEDS),2000)

integration: $(DEV_STAMP) ## each service on real servers
	$(BIN)/pytest tests/integration

system: $(DEV_STAMP) ## the three services as processes, one of them killed
	$(BIN)/pytest tests/system

test-faults: $(DEV_STAMP) ## simulated histories, seeded faults and failpoints on the whole system, side by side: under eight minutes
	$(MAKE) --no-print-directory --jobs=3 --output-sync=target faults-random faults-failpoints faults-simulated

# Two worlds at a time are what two cores keep up with.
OTHER_FAULTS := tests/faults/test_failpoints.py tests/faults/test_cluster.py tests/faults/test_disk.py

faults-random: $(DEV_STAMP)
	$(BIN)/pytest tests/faults $(OTHER_FAULTS:%=--ignore %)

faults-failpoints: $(DEV_STAMP)
	$(BIN)/pytest $(OTHER_FAULTS)

# What has no clock of its own takes what the others leave.
faults-simulated: $(DEV_STAMP)
	nice -n 15 $(MAKE) --no-print-directory simulation

chaos: $(DEV_STAMP) ## one run under faults: SEED=7, MINUTES=1, COPIES=1 (of each service)
	$(BIN)/python -m tests.faults.chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),1) --copies $(or $(COPIES),1)

chaos-full: $(DEV_STAMP) ## twenty seeds, a thousand faults and more, every failpoint twenty times
	GIHAN_FAULTS=full $(MAKE) --no-print-directory --jobs=2 --output-sync=target faults-random faults-failpoints

mutants: $(DEV_STAMP) ## breaks one guarantee after another; a test must see each (ONLY=07 for one)
	$(BIN)/python tests/mutants/run.py --only "$(ONLY)"

power-cut: $(DEV_STAMP) ## as root: power cut under NATS, PostgreSQL and all of Gihan, with controls that must lose (POWER="nats --runs 3")
	$(BIN)/python -m tests.power.cut $(POWER)

cluster: $(DEV_STAMP) ## three nats-servers: leader killed, frozen, cut off, quorum lost, all killed (CLUSTER="kill --times 1")
	$(BIN)/python -m tests.power.cluster $(CLUSTER)

contracts: $(DEV_STAMP) ## write schemas, AsyncAPI and OpenAPI anew
	$(BIN)/python -m contracts.generate

lock: ## resolve requirements*.in again (needs uv on the PATH)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q requirements.in -o requirements.txt
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q requirements-dev.in -o requirements-dev.txt

clean: ## remove the environment and what tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
