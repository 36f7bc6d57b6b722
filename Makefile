# Now Serving. `make demo` and `make test` need nothing but Python >= 3.11 and make.

VENV ?= .venv
BIN := $(VENV)/bin
# Debian keeps servers (mosquitto) out of an ordinary user's PATH.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
# What pip installs is compiled once; this tree is too, or every start of a program compiles it anew.
unexport PYTHONDONTWRITEBYTECODE

# What is needed comes before what needs it: old pips look no further.
DISTRIBUTIONS := contract messaging edge cloud-sync simulator
PINS := requirements/constraints.txt $(DISTRIBUTIONS:%=%/pyproject.toml)

# Most tests wait for wires, not for the processor. ARGS="-n 0" for one after the other.
IN_PARALLEL := -n auto --dist loadfile

# Raspberry Pi OS has these; `make test` runs the fast tests with each that this machine has, too.
OTHER_PYTHONS ?= 3.11 3.13

SEEDS ?= 1 2 3 4 5 6 7 8 9 10

MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: demo chaos test unit lint types asyncapi diagrams constraints bench format clean help \
	test-all-pythons unit-other-pythons system-packages

help: ## List the targets
	@echo 'make TARGET, with PYTHON=/path/to/python3.x to choose one:'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

demo: $(VENV)/.product ## Run a virtual hall and its centre; ARGS="--help" shows what it takes
	@tools/demo-broker.sh $(VENV)
	@exec $(BIN)/nowserving demo $(ARGS)

chaos: $(VENV)/.product ## Ten headless demos, all three programs killed again and again; SEEDS="1 2" to choose
	@tools/demo-broker.sh $(VENV)
	@for seed in $(SEEDS); do \
		echo "== seed $$seed"; \
		$(BIN)/nowserving demo --headless --for 50 --speed 60 --chaos --json --seed $$seed || exit 1; \
	done

test: system-packages lint types $(if $(ARGS),,unit-other-pythons) ## Install what the tests need, then lint, types, import rules, all tests
	@$(BIN)/pytest $(IN_PARALLEL) $(ARGS)

test-all-pythons: ## make test with every Python >= 3.11 of this machine (PATH and pyenv)
	@for python in $$(tools/find-python.sh --all); do \
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "== Python $$version ($$python)"; \
		$(MAKE) test PYTHON=$$python VENV=.venv-$$version OTHER_PYTHONS= || exit 1; \
	done

unit-other-pythons: $(VENV)/.dev ## The same with 3.11 and 3.13, each where it is there
	@own=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	for python in $$(tools/find-python.sh --all); do \
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		case " $(OTHER_PYTHONS) " in *" $$version "*) ;; *) continue ;; esac; \
		[ "$$version" != "$$own" ] || continue; \
		echo "== the fast tests with Python $$version ($$python)"; \
		$(MAKE) unit PYTHON=$$python VENV=.venv-$$version || exit 1; \
	done

unit: $(VENV)/.dev ## The fast, pure tests only
	@$(BIN)/pytest tests/unit $(IN_PARALLEL) $(ARGS)

lint: $(VENV)/.dev ## Style, common mistakes, and which package may import which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(VENV)/.dev ## Static types (mypy --strict)
	@$(BIN)/mypy

format: $(VENV)/.dev ## Rewrite the code in the agreed style
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

asyncapi: $(VENV)/.dev ## Regenerate asyncapi.yaml and docs/reference/events.md from contract/
	@$(BIN)/python -m tools.asyncapi

diagrams: $(VENV)/.dev ## Regenerate docs/reference/state-machines.md from the queue core's tables
	@$(BIN)/python -m tools.diagrams

bench: $(VENV)/.dev ## Run the benchmarks and write their table
	@$(BIN)/python -m bench $(ARGS)

constraints: ## Regenerate requirements/constraints.txt with the newest versions that fit
	@tools/find-python.sh --all | xargs python3 tools/constraints.py

clean: ## Remove the environments, caches and the demo's files
	rm -rf .venv .venv-* .demo tools/asyncapi/node_modules
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -rf $(foreach name,$(DISTRIBUTIONS),$(wildcard $(name)/*.egg-info) $(name)/build)

system-packages:
	@tools/system-packages.sh

$(VENV)/.product: $(PINS)
	@tools/venv.sh $(VENV) $(DISTRIBUTIONS:%=-e ./%)
	@touch $@

$(VENV)/.dev: $(VENV)/.product requirements/test.in requirements/oracles.in
	@tools/venv.sh $(VENV) -r requirements/test.in
	@tools/venv.sh $(VENV) --no-deps -r requirements/oracles.in
	@touch $@
