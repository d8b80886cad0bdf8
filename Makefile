# make demo   see the breaker end a spiralling agent, within a minute
# make test   everything that is checked before a change lands
# make help   the rest

VENV := .venv
# Tests wait for processes more than they compute: more at once than there are cores.
JOBS ?= 4
PY := $(VENV)/bin/python
export PYTHONUNBUFFERED :=

.PHONY: help pictures demo test lint man real fleet prices test-all dist bench fuzz soak clean

help:
	@sed -n 's/^# make/make/p' $(MAKEFILE_LIST)

$(VENV)/.made: pyproject.toml
	python3 -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
	$(PY) -m pip install -q --disable-pip-version-check --group dev
	@touch $@

.venv: $(VENV)/.made

# Without the tools of development the demo gets the packages that the commands need, and no more.
DEMO := $(if $(wildcard $(VENV)/.made),$(VENV),.venv-demo)
.venv-demo/.made: pyproject.toml
	@echo "making .venv-demo with click and orjson, once (26 MB, half a minute)"
	@python3 -m venv .venv-demo
	@.venv-demo/bin/python -m pip install -q --disable-pip-version-check click orjson
	@touch $@

demo: $(DEMO)/.made
	@PATH="$(CURDIR)/$(DEMO)/bin:$$PATH" $(DEMO)/bin/python tests/demo.py

test: lint man $(VENV)/.made
	$(PY) -m pytest -n $(JOBS) --ignore tests/real --ignore tests/fleet tests

# make test-all   the tests on every Python from 3.11 that is installed, or that uv can find
PYTHONS := 3.11 3.12 3.13 3.14
test-all:
	@for version in $(PYTHONS); do sh tests/run_on_python.sh $$version || exit 1; done

lint: $(VENV)/.made
	$(VENV)/bin/ruff check agent_pipes tests bin/agent-strace
	$(VENV)/bin/ruff format --check -q agent_pipes tests bin/agent-strace
	$(VENV)/bin/mypy

# Skipped by name where there is no mandoc; .ci/run installs it.
man:
	@if command -v mandoc >/dev/null; then mandoc -T lint -W warning man/*.[17] && echo "man pages: ok"; \
	else echo "man pages: SKIPPED, no mandoc here"; fi

# make real   the real clients, offline (skipped by name without npm or namespaces)
real: $(VENV)/.made
	$(PY) -m pytest tests/real -rs

# Debian: mosquitto mosquitto-clients nats-server kcat jq openjdk-17-jre-headless iproute2
# make fleet       two hosts, three brokers and Spark, each skipped by name where it is absent
FLEET := .venv-fleet
$(FLEET)/.made: pyproject.toml
	python3 -m venv $(FLEET)
	$(FLEET)/bin/python -m pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
	$(FLEET)/bin/python -m pip install -q --disable-pip-version-check --group dev --group fleet
	@touch $@

fleet: $(FLEET)/.made
	$(FLEET)/bin/python -m pytest tests/fleet -rs

# make prices      agent_pipes/data/prices.json anew, from the newest genai-prices and LiteLLM; prints the differences
prices: $(VENV)/.made
	$(PY) -m pip install -q --disable-pip-version-check --upgrade genai-prices
	$(PY) -m pip install -q --disable-pip-version-check --upgrade --no-deps litellm
	$(PY) tests/make_prices.py

# make pictures    the pictures of the README, from runs of the commands (needs tmux and Chromium)
pictures: $(VENV)/.made
	PYTHONPATH=. $(PY) tests/make_pictures.py

# make bench       how fast and how light, each figure beside a peer's (BENCH_ONLY=bill for one row; settings: tests/bench/bench.py)
bench: $(VENV)/.made
	PYTHONPATH=. $(PY) tests/bench/bench.py

# make fuzz        a million made-up inputs for each parser (FUZZ=1000 for fewer)
FUZZ ?= 1000000
fuzz: $(VENV)/.made
	PYTHONPATH=. $(PY) tests/fuzz.py $(FUZZ)

# make soak        an hour of 200 growing files and random faults; nothing may be lost (SOAK_SECONDS=60 for less)
soak: $(VENV)/.made
	PYTHONPATH=. $(PY) tests/soak.py

# make dist        the sdist and the wheel, built and checked
dist: $(VENV)/.made
	$(PY) -m pip install -q --disable-pip-version-check build twine
	rm -rf dist build && $(PY) -m build --outdir dist . && $(PY) -m twine check --strict dist/*

# make clean  forget the environment and what was built
clean:
	rm -rf $(VENV) .venv-demo $(FLEET) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
