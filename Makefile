# Every target sets up what it needs in .venv, from the versions in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: demo demo-cloud ablation test check format bench chaos clean

demo: $(VENV)/.base
	$(BIN)/callsheet run demo
	@echo "Open the report named above in a browser."

# The same job over HTTP: OpenAI, Replicate and S3 are servers on this machine that speak their protocols. No key is needed.
demo-cloud: $(STAMP)
	$(BIN)/python -m tests.fakes.demo

# Which way of drawing keeps a character best? 20 stories, 3 seeds, 4 ways, 2 characters: about half an hour on two cores.
# The same command goes on where it was cut off.
ablation: $(VENV)/.base
	$(BIN)/callsheet run ablation

test: $(STAMP)
	$(BIN)/pytest -n 2 -m "not chaos"

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python -m tests.bench

chaos: $(STAMP)
	$(BIN)/pytest -n 2 -m chaos --timeout 0

clean:
	rm -rf $(VENV) build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch is pinned: a wider range may fetch gigabytes for graphics cards.
$(VENV)/.base: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e ".[models]"
	@touch $@

$(STAMP): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e ".[dev,models]"
	@touch $@ $(VENV)/.base
