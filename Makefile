# Each target sets up what it needs, from nothing but Python >= 3.11 and make.
# A stamp in $(VENV) remembers that a group of packages is installed; a change of pyproject.toml makes it stale.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?= -n 2

export JAX_PLATFORMS ?= cpu

bin := $(VENV)/bin
stamp := $(VENV)/.installed

.DEFAULT_GOAL := help
# Two installations into one environment would trip over each other.
.NOTPARALLEL:
.PHONY: help demo test system faults bench bench-quick bench-torch lint format docs serve clean

help:
	@echo 'make demo     train on real digits, get killed, resume, average the last saves'
	@echo 'make test     run every test (PYTEST_ARGS="-n 2 tests/io" chooses; NO_SKIP=1 lets none be skipped)'
	@echo 'make system   install the programs of the system that tests are skipped without, on Debian as root'
	@echo 'make faults   kills, power cuts, damage, hostile files: the whole proof, 30 minutes, best as root'
	@echo 'make bench    measure objio beside its peers and the machine, 40 minutes; bench-quick: two minutes; bench-torch'
	@echo 'make lint     check style and types'
	@echo 'make format   put the code into shape'
	@echo 'make docs     build the site into site/, warnings are errors'
	@echo 'make serve    show the site while it is written'
	@echo 'make clean    remove the environment and everything built'

demo: $(stamp)-demo
	$(bin)/python docs/examples/digits.py

test: $(stamp)-test
	$(bin)/python -m pytest $(PYTEST_ARGS)

system:
	tools/system.sh

# What cannot be installed is missed by the proofs that need it.
faults: $(stamp)-faults
	-tools/system.sh strace mkfs.ext4 mkfs.xfs
	PYTHONPATH=tests $(bin)/python -m faults

bench: $(stamp)-bench
	$(bin)/python -m benchmarks

bench-quick: $(stamp)-bench
	$(bin)/python -m benchmarks --set quick

bench-torch: $(stamp)-bench-torch
	$(bin)/python -m benchmarks --set torch

lint: $(stamp)-lint
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

format: $(stamp)-lint
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

# The notice about the next mkdocs is not about these pages.
docs serve: export NO_MKDOCS_2_WARNING := 1
docs: $(stamp)-docs
	$(bin)/mkdocs build --strict

serve: $(stamp)-docs
	$(bin)/mkdocs serve

clean:
	rm -rf $(VENV) build dist site .hypothesis .mypy_cache .pytest_cache .ruff_cache

# pip before 25.1 does not know the groups of pyproject.toml.
$(stamp)-pip:
	@command -v '$(firstword $(PYTHON))' >/dev/null || { echo 'objio needs Python 3.11 or newer, and there is no $(PYTHON); name another with: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "objio needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; name another with: make PYTHON=python3.12 ...")'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo 'objio needs the modules venv and ensurepip of $(PYTHON); on Debian: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(bin)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

$(stamp)-%: pyproject.toml | $(stamp)-pip
	$(bin)/python -m pip install --quiet --editable . --group $*
	@touch $@
