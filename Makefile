# The two commands: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3.11
CORES ?= all
TORCH ?= cpu
PIP_ARGS ?=

# Threads that wait without spinning leave the cores to the other jobs.
export OMP_WAIT_POLICY := passive

BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet $(PIP_ARGS)

.PHONY: demo test cluster-test env lint format benchmarks schemas clean

demo: env
	$(BIN)/snakemake --cores $(CORES) all
	$(BIN)/snakemake --cores 1 --quiet all --report results/report.html
	@echo
	@echo "Done. Open the report: $(CURDIR)/results/report.html"

test: .venv/test-ready
	$(BIN)/pytest -n 2 --dist loadfile
	$(MAKE) --no-print-directory lint

# A real Slurm on this machine (root, Debian): the same tables as without it. Exit 77: cannot be run.
cluster-test: .venv/test-ready
	$(BIN)/python -m tests.cluster.run

env: .venv/ready

.venv/ready: envs/torch-$(TORCH).txt envs/torch-cpu.txt envs/lock.txt pyproject.toml
	@echo "Setting up the pinned environment in .venv (once; some minutes) ..."
	$(PYTHON) -m venv .venv
	$(PIP) -r envs/torch-$(TORCH).txt
	$(PIP) --no-deps -r envs/lock.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/test-ready: .venv/ready envs/lock-dev.txt
	$(PIP) --no-deps -r envs/lock-dev.txt
	@touch $@

lint: .venv/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakemake --lint

format: .venv/test-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

schemas: env
	$(BIN)/python -m raymark schemas

benchmarks: env
	$(BIN)/python benchmarks/rendering.py
	$(BIN)/python benchmarks/shard_rule.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/methods.py
	$(BIN)/python benchmarks/correspondence.py
	$(BIN)/python benchmarks/registration.py --out docs/measurements/registration_speed.md
	$(BIN)/python benchmarks/registration_accuracy.py --out docs/measurements/registration.md

clean:
	git clean -dfX -e '!.venv' results .snakemake logs
