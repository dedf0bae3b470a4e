# make demo    set up, and train a small Swedish recogniser from nothing (three to four minutes after the installation)
# make up      a Prefect server with its UI and two workers on this machine (PORT=4300 for another port); make down stops them
# make test    set up, and run linters and tests
# make slow-test   the tests that `make test` leaves out: half a minute or more each
# make stack-test  PostgreSQL, a server and workers for real, killed, restarted and cut off (three quarters of an hour; Linux, PostgreSQL, Chromium)
# make kill-test   kill trainings a hundred times on each kind of store (about a quarter of an hour)
PYTHON ?= $(firstword $(foreach each,python3.14 python3.13 python3.12 python3.11 python3,$(shell $(each) -c \
	'import sys; print(sys.executable) if (3, 11) <= sys.version_info[:2] < (3, 15) else None' 2>/dev/null | grep /)))
STORE ?= $(if $(VISKA_STORE),$(VISKA_STORE),$(CURDIR)/store)
PORT ?= 4200
PIP = .venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps

.PHONY: demo up down setup test slow-test stack-test kill-test lint format flows requirements clean

demo: .venv/runtime
	VISKA_STORE=$(STORE) .venv/bin/viska retrain --recipe deployments/recipes/demo.yaml

up: .venv/runtime
	VISKA_STORE=$(STORE) .venv/bin/python deployments/up.py --port $(PORT)

down: .venv/runtime
	.venv/bin/python deployments/up.py --down

setup: .venv/dev

test: .venv/dev
	.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

slow-test: .venv/dev
	.venv/bin/python -m pytest -m slow

stack-test: .venv/dev
	.venv/bin/python -m pytest -m stack

kill-test: .venv/dev
	.venv/bin/python benchmarks/kill_train.py

lint: .venv/dev
	.venv/bin/ruff check flows tasks tests benchmarks docs docker deployments
	.venv/bin/ruff format --check flows tasks tests benchmarks docs docker deployments
	.venv/bin/mypy

format: .venv/dev
	.venv/bin/ruff check --fix flows tasks tests benchmarks docs docker deployments
	.venv/bin/ruff format flows tasks tests benchmarks docs docker deployments

# --no-deps: the files list everything, with hashes; pip need not look for more.
.venv/runtime: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "viska needs Python 3.11 to 3.14; none was found. Name one: make PYTHON=/path/to/python"; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "Installing the packages of requirements.txt (about 2 GB to fetch, once) ..."
	$(PIP) --require-hashes -r requirements.txt
	$(PIP) --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/runtime requirements-dev.txt
	$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

# Renew the pins; needs uv.
requirements:
	uv pip compile --universal --python-version 3.11 --generate-hashes --upgrade --no-header pyproject.toml -o requirements.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt

clean:
	rm -rf .venv store
