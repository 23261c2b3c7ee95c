# Each target sets up .venv by itself, once: `make demo` is the first thing to type after a clone.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
DEV := .venv/.developed
FRAMEWORKS := .venv/.frameworks
LOG := .venv/install.log
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
FAILED = tail -n 30 $(LOG); echo "the set-up failed; the whole log is $(LOG)"; exit 1

.PHONY: help setup demo test test-all check format bench accuracy forecast-accuracy overhead matrix capabilities scale score score-cures docs figures clean

help:
	@echo "make demo       see a real network fail, and its proven cure  (ARGS='--lang ko' in Korean)"
	@echo "make test       the fast tests            make test-all   all of them"
	@echo "make check      lint, format, types, import order"
	@echo "make memory     what training keeps before and after ut.lean, into docs/memory.md"
	@echo "make overhead   what watching costs beside other ways to watch, into docs/overhead.md"
	@echo "make matrix     every model and loop of the matrix against autograd, into docs/observing.md"
	@echo "make scale      what many ranks tell each other and how long it takes, into docs/scale.md"
	@echo "make capabilities   what every activation can do under torch's transforms, into docs/capabilities.md"
	@echo "make score      faults found and false alarms, ours and others', into docs/score.md"
	@echo "make score-cures   what the search for cures finds, beside the best known and chance, into docs/cures-score.md"
	@echo "make figures    all figures, in figures/  make bench      benchmarks"
	@echo "make accuracy   the largest error of every function beside torch's, into docs/accuracy.md"
	@echo "make forecast-accuracy   networks against what ut.forecast says of them, into docs/forecast-accuracy.md"
	@echo "make docs       the pages of the activation functions, in docs/activations/"

setup: $(DEV)

# torch comes first and alone, so that no other requirement picks a torch of its own.
$(READY): pyproject.toml constraints.txt CMakeLists.txt $(shell find src/undertow/native -name '*.cpp' -o -name '*.h')
	@echo "setting up .venv (about 2 minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "undertow needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)" > $(LOG) 2>&1 \
	  && $(PIP_INSTALL) -e . >> $(LOG) 2>&1 || { $(FAILED); }
	@touch $@

$(DEV): $(READY)
	@echo "adding what the tests and tools need (about a minute, once)"
	@$(PIP_INSTALL) -e '.[dev]' >> $(LOG) 2>&1 || { $(FAILED); }
	@touch $@

$(FRAMEWORKS): $(DEV)
	@echo "adding the frameworks that all tests are run with (about a minute, once)"
	@$(PIP_INSTALL) -e '.[dev,frameworks]' >> $(LOG) 2>&1 || { $(FAILED); }
	@touch $@

demo: $(READY)
	@$(BIN)/undertow demo $(ARGS)

test: $(DEV)
	@$(BIN)/python -m pytest -n 2 -q $(ARGS)

test-all: $(FRAMEWORKS)
	@$(BIN)/python -m pytest -n 2 -q -m "" $(ARGS)

check: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

format: $(DEV)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(DEV)
	@$(BIN)/python -m pytest benchmarks -p no:xdist --benchmark-only -q -s $(ARGS)

accuracy: $(DEV)
	@$(BIN)/python tools/accuracy.py

forecast-accuracy: $(DEV)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.forecast_accuracy $(ARGS)

docs: $(READY)
	@$(BIN)/python tools/make_docs.py

memory: $(DEV)
	@$(BIN)/python benchmarks/bench_memory.py

overhead: $(DEV)
	@$(BIN)/python -c 'import tensorboard, wandb' 2> /dev/null || $(PIP_INSTALL) -q -e '.[frameworks]'
	@$(BIN)/python benchmarks/bench_overhead.py $(ARGS)

# timm alone: it asks for torchvision, whose build on PyPI does not load beside torch for CPU.
matrix: $(DEV)
	@$(BIN)/python -c 'import sys, importlib.util as u; sys.exit(not u.find_spec("timm"))' || $(PIP_INSTALL) -q --no-deps timm
	@$(BIN)/python tools/matrix.py $(ARGS)

scale: $(DEV)
	@$(BIN)/python benchmarks/bench_scale.py

score: $(DEV)
	@case "$(ARGS)" in *--peers*) $(PIP_INSTALL) -q -e '.[peers]';; esac
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.score $(ARGS)

score-cures: $(DEV)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.cures $(ARGS)

capabilities: $(DEV)
	@$(BIN)/python tools/capabilities.py

figures: $(READY)
	@$(BIN)/undertow figures -o figures

clean:
	rm -rf build dist figures .pytest_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
