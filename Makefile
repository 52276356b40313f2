# Gihan: every command a developer or an operator of one machine needs. `make` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# A stamp names the lock file it was made from, so that nothing installs twice.
RUN_STAMP := $(VENV)/.run-$(shell cat requirements.txt requirements-fonts.txt pyproject.toml | cksum | cut -d' ' -f1)
BENCH := .venv-bench
# What is measured is the compiled core where there is a C compiler; COMPILED= measures the interpreted one.
COMPILED ?= $(if $(shell command -v cc),1)
COMPILED_STAMP := build/compiled/.made
# gcc lays the core out by what it has seen at work, which spares seven hundredths of the time; others have other ways.
GCC := $(shell cc --version 2>/dev/null | grep 'Free Software')
BENCH_PATH := PYTHONPATH=$(if $(COMPILED),$(CURDIR)/build/compiled:)$(CURDIR)
BENCH_STAMP := $(BENCH)/.bench-$(shell cat requirements.txt requirements-bench.txt | cksum | cut -d' ' -f1)
DEV_STAMP := $(VENV)/.dev-$(shell cat requirements.txt requirements-dev.txt pyproject.toml | cksum | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check unit simulation integration integration-first integration-second beside-integration api system browser test-faults faults-random \
	faults-failpoints faults-simulated chaos chaos-full power-cut cluster mutants bench bench-check bench-profile contracts \
	wheel lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(RUN_STAMP):
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --no-deps -r requirements-fonts.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	rm -f $(VENV)/.run-*; touch $@

$(DEV_STAMP): $(RUN_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-dev.txt
	rm -f $(VENV)/.dev-*; touch $@

demo: $(RUN_STAMP) ## a working week of five cities through the whole system, under two minutes
	$(BIN)/gihan demo $(DEMO)

test: check ## check, unit, integration and one system test: about six minutes
	$(MAKE) --no-print-directory --jobs=3 --output-sync=target integration-first integration-second beside-integration

# Tests on servers wait for more than they work: two halves of them and the rest keep two cores busy to the end.
integration-first: $(DEV_STAMP)
	$(BIN)/pytest $(sort $(wildcard tests/integration/test_[a-h]*.py))

integration-second: $(DEV_STAMP)
	$(BIN)/pytest $(sort $(filter-out $(wildcard tests/integration/test_[a-h]*.py),$(wildcard tests/integration/test_*.py)))

beside-integration: $(DEV_STAMP)
	$(MAKE) --no-print-directory unit
	$(MAKE) --no-print-directory system
	$(BIN)/pytest -rs tests/browser/test_filing.py

test-all: test api browser simulation mutants chaos-full cluster power-cut ## everything there is: as root, some hours

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

api: $(DEV_STAMP) ## the whole HTTP API against its own document: thousands of requests, right and wrong
	GIHAN_API=whole $(BIN)/pytest -s tests/integration/test_api_schema.py

system: $(DEV_STAMP) ## the three services as processes, one of them killed
	$(BIN)/pytest tests/system

browser: $(DEV_STAMP) ## citizens' pages in Chromium: the whole story, every page by axe (GIHAN_SCREENSHOTS=folder keeps pictures)
	$(BIN)/pytest -rs tests/browser

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

# Peers have an environment of their own: nothing that Gihan runs on may come from them.
$(BENCH_STAMP):
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.txt
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-bench.txt
	rm -f $(BENCH)/.bench-*; touch $@

bench: $(BENCH_STAMP) $(if $(COMPILED),$(COMPILED_STAMP)) ## speed beside that of others, into docs/bench: under twenty minutes (QUICK=1: under three; ONLY=live,counting)
	$(BENCH_PATH) $(BENCH)/bin/python -P -m tests.bench.run $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

bench-check: $(BENCH_STAMP) $(if $(COMPILED),$(COMPILED_STAMP)) ## fails where a ratio is a quarter worse than the one kept in docs/bench (ONLY=live,counting)
	$(BENCH_PATH) $(BENCH)/bin/python -P -m tests.bench.run --check $(if $(ONLY),--only $(ONLY))

bench-profile: $(BENCH_STAMP) $(if $(COMPILED),$(COMPILED_STAMP)) ## where the time of fold, relay and intake goes, into docs/bench (ONLY=fold)
	$(BENCH_PATH) $(BENCH)/bin/python -P -m tests.bench.profiling $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

contracts: $(DEV_STAMP) ## write schemas, AsyncAPI and OpenAPI anew
	$(BIN)/python -m contracts.generate
	$(BIN)/python -m deploy.matrix

# Made anew whenever a file of the package has changed, so that no old core is measured.
$(COMPILED_STAMP): setup.py pyproject.toml $(shell find clients contracts deploy services -name '*.py' -o -name '*.h') | $(DEV_STAMP)
	rm -rf build dist/gihan-*.whl
ifneq ($(GCC),)
	GIHAN_COMPILE=watched $(BIN)/python -m build --wheel --no-isolation --outdir build/watched
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index --target build/watched build/watched/gihan-*.whl
	PYTHONPATH=build/watched:. $(BIN)/python -P -m tests.bench.training
endif
	GIHAN_COMPILE=$(if $(GCC),trained,1) $(BIN)/python -m build --wheel --no-isolation
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index --target build/compiled dist/gihan-*.whl
	PYTHONPATH=build/compiled $(BIN)/python -P -c "import services.rules.warm as it; assert it.__file__.endswith('.so'), it"
	touch $@

# Told where to look for the core, since pytest would find the interpreted one first.
COMPILED_TESTS := attributes golden_logs warm heads chapters parallel instants counting

wheel: $(COMPILED_STAMP) ## dist/*.whl with the core compiled (needs a C compiler); decides the same, about twice as fast
	$(BIN)/python -P -m pytest -q -rs -o pythonpath="build/compiled ." $(COMPILED_TESTS:%=tests/unit/test_%.py)

lock: ## resolve requirements*.in again (needs uv on the PATH)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q requirements.in -o requirements.txt
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q requirements-dev.in -o requirements-dev.txt
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q requirements-bench.in -o requirements-bench.txt

clean: ## remove the environment and what tools left
	rm -rf $(VENV) $(BENCH) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
