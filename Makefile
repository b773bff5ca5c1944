# The only door: `make help` lists what it opens. Needs Python 3.11 to 3.13, make and git; nothing else.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do command -v $$python >/dev/null 2>&1 && \
  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
PIP := -m pip --disable-pip-version-check install --quiet --quiet --no-deps

# A name may hold spaces, quotes and dollar signs: it reaches the programs through the environment, verbatim.
unexport PIPELINE GROUP SOURCE MODEL ARGS CRON RUN STEP WAIT
export RUN_PIPELINE := $(value PIPELINE)
export RUN_GROUP := $(value GROUP)
export RUN_SOURCE := $(value SOURCE)
export RUN_MODEL := $(value MODEL)
export RUN_ARGS := $(value ARGS)
export RUN_CRON := $(value CRON)
export RUN_ID := $(value RUN)
export RUN_STEP := $(value STEP)
export RUN_WAIT := $(value WAIT)
RUN_OPTIONS = --pipeline "$$RUN_PIPELINE" --group "$$RUN_GROUP" --source "$$RUN_SOURCE" --model "$$RUN_MODEL" --args "$$RUN_ARGS"
export PYTHONPATH := $(CURDIR)
export PYTHONUTF8 := 1

##@ Use it
.PHONY: run
run: .venv/ready .venv-triton/ready  ## pictures to a served model; GROUP=name SOURCE=folder MODEL=file ARGS="epochs=3" PIPELINE=training
	@$(BIN)/python -m pipelines.local $(RUN_OPTIONS)

.PHONY: up
up: .venv/ready .venv-triton/ready  ## start PostgreSQL, S3, Triton and the picture service; print their addresses
	@$(BIN)/python -m pipelines.embedded up

.PHONY: status
status: .venv/ready  ## say what runs
	@$(BIN)/python -m pipelines.embedded status

.PHONY: down
down: .venv/ready  ## stop the services; their data stay in .silhouette/
	@$(BIN)/python -m pipelines.embedded down

##@ Use it on a cluster
.PHONY: submit
submit: .venv/ready  ## run a pipeline there and follow it; PIPELINE GROUP SOURCE MODEL ARGS as for run; WAIT=0
	@$(BIN)/python -m pipelines.submit $(RUN_OPTIONS) --wait "$$RUN_WAIT"

.PHONY: schedule
schedule: .venv/ready  ## run it there again and again; CRON="0 3 * * 1" is Mondays at 3
	@$(BIN)/python -m pipelines.submit $(RUN_OPTIONS) --cron "$$RUN_CRON" --every

.PHONY: estimate
estimate: .venv/ready  ## what it would cost: pictures, steps that are reused, GPU hours by earlier runs
	@$(BIN)/python -m pipelines.cluster.estimate $(RUN_OPTIONS)

.PHONY: runs
runs: .venv/ready  ## list runs and schedules; GROUP=name for one group's
	@$(BIN)/python -m pipelines.cluster runs --group "$$RUN_GROUP"

.PHONY: follow
follow: .venv/ready  ## follow a run; RUN=id
	@$(BIN)/python -m pipelines.cluster follow --run "$$RUN_ID"

.PHONY: logs
logs: .venv/ready  ## what a run's steps printed; RUN=id STEP=name
	@$(BIN)/python -m pipelines.cluster logs --run "$$RUN_ID" --step "$$RUN_STEP"

.PHONY: cancel
cancel: .venv/ready  ## end a run or a schedule; RUN=id
	@$(BIN)/python -m pipelines.cluster cancel --run "$$RUN_ID"

##@ Keep a cluster
OVERLAY ?= kind

.PHONY: doctor
doctor: .venv/ready  ## look the cluster over and say what to do; OVERLAY=kind, gpu or air-gapped
	@$(BIN)/python -m manifests.doctor --overlay "$(OVERLAY)"

.PHONY: secrets
secrets: .venv/ready  ## make the Secrets that the cluster lacks; OVERLAY=...
	@$(BIN)/python -m manifests.secrets --overlay "$(OVERLAY)"

.PHONY: cluster
cluster: .venv/ready  ## a cluster on this machine with Docker: kind, Kubeflow Pipelines, images, everything
	@$(BIN)/python -m manifests.laptop up

.PHONY: cluster-down
cluster-down: .venv/ready  ## remove that cluster and its data
	@$(BIN)/python -m manifests.laptop down

##@ Work on it
.PHONY: install
install: .venv/ready .venv-triton/ready  ## make the virtual environments from the hashed locks

.PHONY: test
test: .venv/ready .venv-triton/ready  ## the default tests; TESTS="tests/test_names.py -k plain" for some
	@$(BIN)/python -m pytest $(if $(TESTS),$(TESTS),--numprocesses 2 --dist loadfile)

.PHONY: test-long
test-long: .venv/ready .venv-triton/ready  ## the tests that take minutes
	@$(BIN)/python -m pytest -m long $(if $(TESTS),$(TESTS),--numprocesses 2 --dist loadfile)

.PHONY: lint
lint: .venv/ready  ## style, types, architecture, compiled pipelines, Dockerfiles, manifests
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pipelines.lint_ir pipelines/compiled/*.yaml
	@$(BIN)/hadolint images/*/Dockerfile
	@$(BIN)/python -m images.check
	@$(BIN)/python -m manifests.check

.PHONY: docs
docs: .venv/ready  ## build the documentation into build/docs; a warning is an error
	@$(BIN)/python -m sphinx -E -n -W --keep-going -q -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

.PHONY: compile
compile: .venv/ready  ## write pipelines/compiled/*.yaml and the tags of manifests/
	@$(BIN)/python -m pipelines.compile
	@$(BIN)/python -m manifests.tags

.PHONY: lock
lock: .venv/ready  ## resolve requirements.lock and its subset for each image
	@$(BIN)/python -m images.lock

.PHONY: images
images: .venv/ready  ## build the images with docker, podman or buildah; `make image/cpu` for one; REGISTRY=prefix PUSH=1
	@$(BIN)/python -m images.build --registry "$(REGISTRY)" $(if $(PUSH),--push)

.PHONY: image/%
image/%: .venv/ready
	@$(BIN)/python -m images.build $* --registry "$(REGISTRY)" $(if $(PUSH),--push)

.PHONY: sample-model
sample-model: .venv/ready  ## train the sample group's segmenter again (about half an hour)
	@$(BIN)/python -m samples.train_segmenter

.PHONY: bench
bench: .venv/ready .venv-triton/ready  ## measure; BENCH="cli.help" for one; writes build/bench.json
	@$(BIN)/python -m tests.benchmarks $(BENCH)

.PHONY: clean
clean: down  ## stop the services and delete their data, runs and samples
	rm -rf .silhouette build

.PHONY: help
help:  ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 must be on the PATH, none is; install one" >&2; exit 1; }
	@echo "installing the packages of requirements.lock into .venv (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP) --require-hashes --requirement requirements.lock
	@$(BIN)/python $(PIP) --no-build-isolation --editable .
	@touch $@

.venv-triton/ready: images/triton/requirements.lock
	@test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 must be on the PATH, none is; install one" >&2; exit 1; }
	@echo "installing Triton into .venv-triton"
	@test -x .venv-triton/bin/python || $(PYTHON) -m venv .venv-triton
	@.venv-triton/bin/python $(PIP) --require-hashes --requirement images/triton/requirements.lock
	@touch $@
