# `make demo` and `make test` need a Python of at least 3.11 and nothing else: each makes .venv when it is not there,
# and installs again only when pyproject.toml has changed. Plain make, so that GNU's old ones and BSD's run it too.

BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
PAGES = https://www.python.org/downloads/

help:
	@echo 'make demo    train on the built-in digits, evaluate, write a report page (needs no data)'
	@echo 'make test    format, lint, types and all tests'
	@echo 'make check   format, lint and types only'
	@echo 'make format  put the code into shape'
	@echo 'make clean   remove .venv and all caches; runs/ stays'

demo: .venv/installed
	$(BIN)/nearfar demo

test: check
	$(BIN)/python -m pytest -n auto --dist loadfile

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: .venv/made pyproject.toml
	@echo 'Installing nearfar into .venv; torch is large, so the first time takes minutes ...'
	@$(PIP) -e .
	@touch $@

.venv/installed-dev: .venv/made pyproject.toml
	@echo 'Installing nearfar and its tools into .venv; torch is large, so the first time takes minutes ...'
	@$(PIP) -e '.[dev]'
	@touch .venv/installed $@

# Debian's python3 comes without ensurepip; such a one is passed over when another is there.
.venv/made:
	@for python in $$PYTHON python3.13 python3.12 python3.11 python3 python; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "Making .venv with $$($$python --version) ..."; \
	    $$python -m venv .venv && touch $@ && exit 0; \
	    exit 1; \
	  fi; \
	done; \
	echo 'No Python of at least 3.11 with venv was found: install one ($(PAGES);' \
	  'on Debian and Ubuntu: apt install python3 python3-venv), or say which: make PYTHON=/path/to/python' >&2; \
	exit 1

.PHONY: help demo test check format clean
