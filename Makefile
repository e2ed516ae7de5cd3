# `make help` lists the targets. Set PYTHON to choose an interpreter, ARGS for pytest.
.PHONY: help demo test soak lint parity references bench training clean

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin

help: ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

# The environment, with what `make demo` needs.
.venv/.run: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "enrich needs Python 3.11 or newer; none of python3, python3.11 .. 3.13 is. Install one, or say: make $(MAKECMDGOALS) PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[cpu,ocr]'
	@touch $@

# What tests and lint need besides.
.venv/.dev: .venv/.run
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[api,cpu,ocr,postgres,dev]'
	@touch $@

demo: .venv/.run ## The main job on drawn sample assets, told as a story
	@$(BIN)/enrich demo

test: .venv/.dev ## The whole default suite (ARGS=... goes to pytest)
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

soak: .venv/.dev ## Kills, floods and chance in full (MINUTES=30 SEED=... DATABASE=sqlite|postgresql)
	ENRICH_SOAK=1 $(BIN)/python -m pytest -s --timeout 5400 tests/integration/test_arrivals.py tests/integration/test_flood.py tests/integration/test_watch_kill.py
	$(BIN)/python tests/soak.py --minutes $(or $(MINUTES),30) --database $(or $(DATABASE),sqlite) $(if $(SEED),--seed $(SEED))

# import-linter and mypy do not see enrich.plugins in an editable checkout: lint the built layout.
lint: .venv/.dev ## ruff, mypy strict and the layers
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .
	@rm -rf build/lint build/lib && $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation --target build/lint . 2>/dev/null \
	|| $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --target build/lint .
	@cd build/lint && MYPYPATH=. ../../$(BIN)/mypy --config-file ../../pyproject.toml -p enrich
	@cd build/lint && PYTHONPATH=. ../../$(BIN)/lint-imports --no-cache --config ../../.importlinter

bench: .venv/.dev ## Every benchmark, one table and one JSON line each (throughput and generation need training/make environment)
	@for name in rescan ingest throughput generation watch http_serving; do $(BIN)/python benchmarks/$$name.py || exit 1; done

training/.venv/.parity: constraints-export.txt pyproject.toml
	@PYTHON=$(PYTHON) training/make environment
	@training/.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints-export.txt pytest pytest-timeout -e .
	@touch $@

# The newer architectures need transformers 5, which optimum does not take.
training/.venv5/.parity: constraints-export5.txt pyproject.toml
	@test -x training/.venv5/bin/python || $(PYTHON) -m venv training/.venv5
	@training/.venv5/bin/python -m pip install -q --disable-pip-version-check -c constraints-export5.txt torch
	@training/.venv5/bin/python -m pip install -q --disable-pip-version-check -c constraints-export5.txt transformers onnx onnxruntime onnxscript pillow pytest pytest-timeout -e .
	@touch $@

ALONE := PYTHONHASHSEED=0 HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES=
PARITY := PYTHONPATH=training:tests $(ALONE) training/.venv/bin/python
PARITY5 := PYTHONPATH=tests $(ALONE) training/.venv5/bin/python

parity: .venv/.dev training/.venv/.parity training/.venv5/.parity ## Our numbers against the reference implementations (own environments, torch)
	@$(PARITY) -m pytest -p no:cacheprovider -W default tests/parity/test_fresh.py $(ARGS)
	@$(PARITY5) -m pytest -p no:cacheprovider -W default tests/parity/vlm $(ARGS)
	@ENRICH_EXPORT_PYTHON_OPTIMUM=$(CURDIR)/training/.venv/bin/python ENRICH_EXPORT_PYTHON_TORCH=$(CURDIR)/training/.venv5/bin/python \
		$(BIN)/python -m pytest -p no:cacheprovider tests/integration/test_models_export.py $(ARGS)

references: training/.venv/.parity training/.venv5/.parity ## Record tests/references anew (own environments, torch)
	@$(PARITY) -W ignore -m parity.record
	@$(PARITY5) -W ignore -m parity.vlm.record

training: ## Train and export the drawings models again (own environment, torch, minutes)
	@PYTHON=$(PYTHON) training/make

clean: ## Remove what the other targets made
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache training/.venv training/.venv5 training/out
