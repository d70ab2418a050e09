# Two commands to know: make demo, make test. Needs Python 3.11 or newer, and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PACKAGES := data train export infer benchmarks
CPP := $(wildcard infer/native/*.cpp infer/native/*.h infer/native/cpu/* infer/native/cuda/* benchmarks/cases/*.cpp \
	tests/infer/engines/gpu/emulated/*)
NATIVE := setup.py $(CPP)
# The page of examples/ is tested where a browser can be driven.
NODE_EXAMPLES := examples/node/node_modules \
	$(if $(shell command -v chromedriver),examples/web/node_modules)
# One Torch for everyone, so that every machine tests the same.
TORCH := torch==2.13.0
COMMA := ,
EXTRA ?= $(shell if nvidia-smi -L >/dev/null 2>&1; then echo cuda; else echo cpu; fi)

.PHONY: help demo test check format bench load docs cuda-check cuda-train clean FORCE

help:
	@echo "make demo        set up, train a small model for about a minute, export it, generate text"
	@echo "make test        set up, run all tests"
	@echo "make check       format, lint and types"
	@echo "make format      mend what a program can mend"
	@echo "make docs        build the documentation as a site, in build/site"
	@echo "make bench       measure this machine; the report goes to benchmark-results/"
	@echo "make load        load a server of this machine; the report goes to benchmark-results/load/"
	@echo "make cuda-check  on a machine with an NVIDIA GPU: CUDA tests, then CUDA benchmarks"
	@echo "make cuda-train  on such a machine: time to 2.1 bits/char on TEXT, then a large model of it"
	@echo "make clean       remove .venv and everything built"

demo: $(VENV)/.demo
	@echo "== 1/4 train a small model for about a minute on the stories that ship with charlm"
	@$(BIN)/charlm-train --minutes 1 --out runs/demo --overwrite
	@echo "== 2/4 export it, and prove the graph equal to the Torch model"
	@$(BIN)/charlm-export runs/demo/model.onnx --run runs/demo
	@echo "== 3/4 generate with it"
	@$(BIN)/charlm-gen "The lamp" --model runs/demo/model.onnx --length 300 --seed 1
	@echo "== 4/4 generate with the model that ships, trained on the stories of H. P. Lovecraft"
	@$(BIN)/charlm-gen "when i drew nigh the nameless city i kne" \
		--model infer/models/lovecraft.onnx --length 300 --temperature 0.7 --seed 1
	@echo
	@echo "Next, with your own text:"
	@echo "  . $(BIN)/activate"
	@echo "  charlm-train YOUR_TEXT.txt --minutes 10"
	@echo "  charlm-export model.onnx"
	@echo "  charlm-gen \"Once upon a time\" --length 1000"

test: $(VENV)/.dev $(NODE_EXAMPLES)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run --Werror $(CPP) examples/cpp/*.cpp
	$(BIN)/mypy $(foreach package,$(PACKAGES),-p charlm.$(package))

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(CPP) examples/cpp/*.cpp

bench: $(VENV)/.bench
	$(BIN)/charlm-bench $(ARGS)

load: $(VENV)/.dev
	$(BIN)/python -m charlm.benchmarks.load $(ARGS)

docs: $(VENV)/.docs
	$(BIN)/python docs/build.py
	$(BIN)/zensical build --strict --clean
	@echo "open build/site/index.html"

# With NO_INSTALL=1 nothing is fetched: $(PYTHON) must have the dependencies, and charlm is
# linked from this tree.
ifdef NO_INSTALL
cuda-check cuda-train: CUDA_PYTHON := env PYTHONPATH="$(CURDIR)/build/linked:$$PYTHONPATH" $(PYTHON)
cuda-check cuda-train: build/linked/charlm
else
cuda-check cuda-train: CUDA_PYTHON := $(BIN)/python
cuda-check cuda-train: $(VENV)/.dev
endif
GPU_TESTS := tests/infer/engines/gpu/test_kernels.py
CUDA_OUT ?= benchmark-results/cuda
CUDA_ROWS := charlm_native_cuda charlm_native_cuda_fp16 charlm_batch_cuda charlm_batch_cuda_fp16 \
	charlm_score_many_cuda charlm_score_many_cuda_fp16 charlm_stream_cuda charlm_stream_cuda_fp16 \
	charlm_stream charlm_stream_int8 charlm_batch_cores charlm_batch_cores_int8 \
	charlm_score_many_cores sweep_cuda
ALONE_ROWS := charlm_stream_cuda_clusters charlm_stream_cuda_clusters_fp16
PERSISTENT_ROWS := charlm_native_cuda_clusters_fp16 charlm_batch_cuda_clusters_fp16 \
	charlm_score_many_cuda_clusters_fp16
# A GPU is not always at hand: benchmarks run even where a test fails, and a kernel that hangs, as
# those of clusters might, which have run on none, costs its own figures and no others.
cuda-check: CUDA_GEN = $(CUDA_PYTHON) -m charlm.infer.cli.gen --model infer/models/lovecraft.onnx \
	--provider cuda --seed 1
cuda-check: CUDA_TEST = $(CUDA_PYTHON) -m pytest -m cuda -W default -p no:cacheprovider
cuda-check:
	$(CUDA_GEN) --length 100 --explain
	@set -x; rows="$(CUDA_ROWS)"; \
	timeout -s KILL 240 $(CUDA_TEST) -k "not alone and not persistent"; tests=$$?; \
	for kernel in alone persistent; do \
		timeout -s KILL 60 $(CUDA_TEST) -k $$kernel --maxfail 2 $(GPU_TESTS) || tests=$$?; \
	done; \
	CHARLM_CLUSTERS=1 timeout -s KILL 30 $(CUDA_GEN) --length 20000 >/dev/null && \
		rows="$$rows $(ALONE_ROWS)"; \
	CHARLM_CLUSTERS=1 timeout -s KILL 30 $(CUDA_GEN) --samples 20000 --precision fp16 \
		>/dev/null && rows="$$rows $(PERSISTENT_ROWS)"; \
	$(CUDA_PYTHON) -m charlm.benchmarks.cli --provider cuda --rounds 5 --out "$(CUDA_OUT)" \
		$$(printf -- '--only %s ' $$rows) && exit $$tests

TEXT ?= data/sample.txt
# The recipe of lovecraft-large, without its report: `charlm-report` makes that later, on any
# machine that has the text.
LARGE ?= --hidden 384 --batch-size 32 --tf32
# Warnings are no errors there: its Torch may be another than that of `make test`.
cuda-train:
	$(CUDA_PYTHON) -m pytest -m cuda -W default -p no:cacheprovider tests/train; tests=$$?; \
	$(CUDA_PYTHON) -m charlm.benchmarks.time_to_bits "$(TEXT)" --device cuda --out "$(CUDA_OUT)" && \
	$(CUDA_PYTHON) -m charlm.train "$(TEXT)" --case lower --newlines drop --no-nfc --final \
		--device cuda $(LARGE) --no-report --resume --out "$(CUDA_OUT)/large" && exit $$tests

build/linked/charlm:
	mkdir -p $@
	for package in $(PACKAGES); do ln -sfn "$(CURDIR)/$$package" $@/$$package; done

clean:
	rm -rf $(VENV) examples/*/node_modules build dist *.egg-info
	rm -rf .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(PACKAGES) tests -name __pycache__ -type d -exec rm -rf {} +

# An editable install knows the files that were there when it was made: make it again when the
# list of files changes. Edits show at once.
$(VENV)/.demo: pyproject.toml $(NATIVE) $(VENV)/.files
	$(call install,train$(COMMA)interactive)
	@touch $@

$(VENV)/.dev: pyproject.toml $(NATIVE) $(VENV)/.files
	$(call install,dev)
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: pyproject.toml $(NATIVE) $(VENV)/.files
	$(call install,bench)
	@touch $@ $(VENV)/.demo

$(VENV)/.docs: pyproject.toml $(NATIVE) $(VENV)/.files
	@echo "== installing charlm[docs] into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	@touch $@

define install
@echo "== installing charlm[$(1),$(EXTRA)] into $(VENV) (a minute or two the first time)"
@rm -rf build
@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	--editable ".[$(1),$(EXTRA)]" "$(TORCH)"
@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # pip has but one core for that
endef

# For the tests of these examples, which are skipped where npm can't be had.
$(NODE_EXAMPLES): %/node_modules: %/package.json
	@! command -v npm >/dev/null || { npm install --silent --prefix $* && touch $@; } || { \
		rm -rf $@; echo "npm could not install what $* needs" >&2; }

$(VENV)/.files: FORCE | $(BIN)/python
	@find $(PACKAGES) -name '*.py' | LC_ALL=C sort > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "charlm needs Python 3.11 or newer, and $(PYTHON) is older or missing;" \
		"name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)
