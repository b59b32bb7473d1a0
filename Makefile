# Every target does its own set-up: a virtual environment in .venv from the locked versions and, for what needs a
# laboratory of network namespaces, the distribution's packages (installed when missing and the user is root).

PYTHON3 ?= $(shell for p in python3 python3.13 python3.12 python3.11; do command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && { echo $$p; break; }; done)
BIN := .venv/bin
PYTHON := $(BIN)/python
PARALLEL ?= 2
SEEDS ?= 2000
ENGINE ?= heartbeat
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help demo test check lint bench bench-peer docs soak simulate fuzz lock clean packages
.DEFAULT_GOAL := help

help:
	@echo "make demo        three nodes in namespaces, a web server, the active node is killed (KEEP=1 leaves it up)"
	@echo "make test        all tests (the cluster tests need root)"
	@echo "make check       lint, types, imports, tests: what CI runs"
	@echo "make bench       measures this stack (REPEAT=5 for the documented figures)"
	@echo "make bench-peer  the same on Corosync and Pacemaker, where they are installed"
	@echo "make soak        the cluster tests ROUNDS=20 times"
	@echo "make simulate    SEEDS=2000 simulated clusters with faults"
	@echo "make fuzz        the property tests with many more examples"
	@echo "make docs        the reference pages that are generated from the tables"

.venv/.ready: pyproject.toml requirements-dev.lock $(wildcard scripts scripts/* agents/*/*)
	@test -n "$(PYTHON3)" || { echo "quorate needs Python 3.11 or later: install it (Debian, Ubuntu: apt-get install python3 python3-venv) or name it with PYTHON3=..." >&2; exit 1; }
	@test -x $(PYTHON) && $(PYTHON) -m pip --version >/dev/null 2>&1 || sh laboratory/environment.sh $(PYTHON3) .venv
	@$(PYTHON) -m pip install -qq --disable-pip-version-check -r requirements-dev.lock
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

packages:
	@sh laboratory/packages.sh

demo: .venv/.ready packages
	@$(PYTHON) -m demo --engine $(ENGINE) $(if $(KEEP),--keep)

test: .venv/.ready
	@sh laboratory/packages.sh --optional
	@$(BIN)/pytest -n $(PARALLEL) --dist loadgroup tests

lint: .venv/.ready
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

check: lint test

bench: .venv/.ready packages
	@$(PYTHON) -m bench quorate $(if $(REPEAT),--repeat $(REPEAT)) $(if $(ONLY),--only $(ONLY))

bench-peer: .venv/.ready packages
	@$(PYTHON) -m bench peer $(if $(REPEAT),--repeat $(REPEAT)) $(if $(ONLY),--only $(ONLY))

soak: .venv/.ready packages
	@QUORATE_SOAK_ROUNDS=$(or $(ROUNDS),20) $(BIN)/pytest -m "soak or namespaces" tests/cluster

simulate: .venv/.ready
	@$(BIN)/quorate simulate --seeds $(SEEDS)

fuzz: .venv/.ready
	@$(BIN)/pytest -n $(PARALLEL) --hypothesis-profile fuzz tests/property

docs: .venv/.ready
	@$(PYTHON) -m quorate.model.options > docs/reference/options.md

# From what pyproject.toml allows to exact versions: a fresh environment, newest allowed, frozen.
lock:
	@sh laboratory/lock.sh $(PYTHON3)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
