# Bootstrap only: everything else is an invoke verb (`.venv/bin/invoke --list`).
SHELL := /bin/sh
BIN := .venv/bin
INSTALL = $(BIN)/pip install --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: demo test check docs coverage faults fuzz podman cluster clean

demo: .venv/installed ## from nothing to a report, in minutes
	$(BIN)/invoke sweep --device=cpu --spec=experiments/demo.json

test: check ## everything that CI asks, in one process more than there are processors
	$(BIN)/pytest -n auto --dist loadscope --no-loadscope-reorder

docs: .venv/tools ## the documentation as a site, in site/; a dead link fails it
	$(BIN)/mkdocs build --strict --quiet

coverage: .venv/tools ## which lines and branches tests reach in this interpreter
	$(BIN)/pytest --cov -m 'not frameworks and not slow and not index'

faults: .venv/tools ## a table of what can go wrong, and what comes of it in each engine
	$(BIN)/pytest -q tests/faults

fuzz: .venv/tools ## over 20,000 random inputs: each is a value or one sentence
	WAYMARK_FUZZ=2000 $(BIN)/pytest -q tests/unit/test_fuzz.py tests/unit/networks/test_onnx_mutants.py

podman: .venv/tools ## the contract and the escapes of the Docker engine, on podman (as root; base images: docker save | podman load)
	folder=$$(mktemp -d); podman system service --time=0 unix://$$folder/podman.sock & \
	sleep 2; DOCKER_HOST=unix://$$folder/podman.sock $(BIN)/pytest -q -k docker tests/contract/test_docker_engine.py \
	  tests/contract/test_engines.py tests/contract/test_escapes.py; code=$$?; kill $$!; rm -rf $$folder; exit $$code

cluster: .venv/tools ## what can happen on a Slurm cluster, 20 times each, on one of two nodes on this host (an hour)
	WAYMARK_CLUSTER_TIMES=20 $(BIN)/pytest -q tests/integration/test_cluster.py

check: .venv/tools
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet
	$(BIN)/vermin --quiet --no-tips --violations -t=3.6- workers tests/unit/workers

.venv/installed: pyproject.toml constraints.txt
	@for python in $(PYTHON) python3 python3.11 python3.12 python3.13 python3.14; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then exec "$$python" -m venv .venv; fi; \
	done; echo 'waymark needs CPython 3.11 or newer with venv (Debian: apt install python3-venv); none was found. Name one: make PYTHON=/path/to/python3.11' >&2; exit 1
	$(INSTALL) '.[docker,report,publish,onnx,slurm]'
	@touch $@

.venv/tools: .venv/installed ## what tests and checks need besides
	$(INSTALL) '.[docker,report,publish,onnx,slurm,parquet,mlflow,postgres,docs,dev]'
	@touch $@

clean: ## forget the virtualenv; data, environments and runs stay (invoke doctor says where)
	rm -rf .venv
