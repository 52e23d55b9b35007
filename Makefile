# The two commands of the README are `make leaderboard` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SUITES := $(sort $(wildcard suites/*.yaml))

.PHONY: leaderboard test check docs publish check-published vendor clean

leaderboard: $(VENV)/.suites
	$(BIN)/lipbench run $(SUITES) --profile quick --results out

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist loadgroup

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# A warning is an error.
docs: $(VENV)/.dev
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html -c docs . site
	@echo "open site/index.html"

publish: $(VENV)/.suites
	$(BIN)/lipbench run $(SUITES) --results results
	$(BIN)/python docs/picture.py results/lipschitz docs/images/leaderboard.svg

# The libraries inside the HTML page, from the npm registry; only needed to change them.
vendor:
	cd tools/vendor && npm ci --ignore-scripts && node build.mjs

check-published: $(VENV)/.suites
	$(BIN)/lipbench leaderboard results --check

$(VENV)/.suites: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[suites]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.suites

clean:
	rm -rf $(VENV) out site
