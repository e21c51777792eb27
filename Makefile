# Two commands matter: `make demo` and `make test`. Both need only python3 (3.11 or newer) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# Tests start many processes, each of which would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint docs bench clean
.DELETE_ON_ERROR:

# One stamp a dependency group: installing is done once, and again when pyproject.toml changes.
$(VENV)/.run: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "projectome needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing projectome into $(VENV)"
	@$(PIP) --upgrade 'pip>=25.1'
	@$(PIP) --editable .
	@touch $@

$(VENV)/.%: $(VENV)/.run
	@echo "installing the packages of the group '$*'"
	@$(PIP) --group $*
	@touch $@

demo: $(VENV)/.run
	@$(BIN)/projectome demo

test: $(VENV)/.test
	@$(BIN)/python -m pytest --quiet --numprocesses logical --maxprocesses 8 --dist loadfile

lint: $(VENV)/.test $(VENV)/.lint
	@$(BIN)/ruff check --quiet src tests bench
	@$(BIN)/ruff format --quiet --check src tests bench || { $(BIN)/ruff format --check src tests bench; exit 1; }
	@$(BIN)/numpydoc lint $$(find src -name '*.py')
	@$(BIN)/mypy
	@$(BIN)/lint-imports > $(VENV)/imports.txt || { cat $(VENV)/imports.txt; exit 1; }
	@echo "style, docstrings, types and layers are in order"

docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

bench: $(VENV)/.test $(VENV)/.bench
	@$(BIN)/projectome bench

clean:
	rm -rf $(VENV) site demo .mypy_cache .ruff_cache .import_linter_cache .hypothesis
