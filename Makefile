# One verb per job; each sets up what it needs in a virtual environment of its own (.venv) and says so only once.
# The package is installed, never imported from this folder: what is tested is what ships.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python -P

# Names that Cython itself puts into a module: pointers for other modules' cimports.
CYTHON_OWN := dydx_perf\.ext\.\w+\.__pyx_capi__

# What the user says on the command line: make test ARGS="-k margin -x"
ARGS ?=

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# `python -m` and scripts must not find the source folder beside the installed package.
export PYTHONSAFEPATH := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

SOURCES = $(shell find ext dydx_perf service -type f \( -name '*.py' -o -name '*.pyi' -o -name 'py.typed' \
            -o -path 'ext/*.pyx' -o -path 'ext/*.pxd' -o -path 'ext/*.h' -o -path 'dydx_perf/data/*' \) \
            ! -path '*/__pycache__/*' | LC_ALL=C sort)

# The requirements of one group of pyproject.toml, one a line.
define requirements
$(PY) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
  print("\n".join($(1)))'
endef
extra = p["project"]["optional-dependencies"]["$(1)"]
# Tests, checks and benchmarks look at the service, too.
$(VENV)/.with-test $(VENV)/.with-check $(VENV)/.with-bench: $(VENV)/.with-service $(VENV)/.with-grpc $(VENV)/.with-plots

.PHONY: help
help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

.PHONY: test
test: $(VENV)/.installed $(VENV)/.with-test  ## build, install, run all tests (ARGS="-k margin -x" are pytest's)
	$(PY) -m pytest $(ARGS)

.PHONY: run
run: $(VENV)/.installed $(VENV)/.with-service  ## real mainnet accounts: risk, the proof, and a crash over real sockets
	$(PY) -m dydx_perf show
	$(PY) -m dydx_perf watch --recording sample

.PHONY: check
check: $(VENV)/.installed $(VENV)/.with-check  ## formatting, lint, types of the installed package, stubs, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint ext
	mkdir -p build/check
	cd build/check && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p dydx_perf
	cd build/check && ../../$(PY) -m mypy.stubtest dydx_perf.ext --mypy-config-file ../../pyproject.toml \
	  --allowlist <(echo '$(CYTHON_OWN)') --ignore-unused-allowlist
	$(PY) -m pytest -q tests/packaging/test_layers.py

.PHONY: bench
bench: $(VENV)/.installed $(VENV)/.with-bench  ## the benchmarks: answers checked, one table, ratios in one run
	$(PY) -m pytest bench --benchmark-only --benchmark-quiet --benchmark-timer=time.process_time -q $(ARGS)

.PHONY: ratios
ratios: $(VENV)/.installed $(VENV)/.with-test  ## a guard for any machine: how many times faster than plain Python, at least
	$(PY) -m pytest bench/test_ratios.py $(ARGS)

.PHONY: docs
docs: $(VENV)/.installed $(VENV)/.with-docs  ## the documentation as HTML in docs/_build/html; a warning is an error
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

.PHONY: mutate
mutate: $(VENV)/.installed $(VENV)/.with-test  ## alter each rounding, comparison and constant; some test must fail
	$(PY) tests/mutation/run.py $(ARGS)

# A report goes to the process's own stderr just before it ends: pytest must not catch that.
.PHONY: sanitize
sanitize: .venv-sanitize/.installed  ## the tests on kernels built with the address and undefined-behaviour sanitizers
	LD_PRELOAD="$$(.venv-sanitize/bin/python -c '$(RUNTIME)')" PYTHONMALLOC=malloc \
	  ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=1:halt_on_error=1:allocator_may_return_null=1 \
	  UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	  .venv-sanitize/bin/python -P -m pytest --capture=sys --ignore=tests/packaging $(ARGS)

# Once guided by the coverage of Python code; then with kernels that have both sanitizers and tell the fuzzer where
# they are, guided by the coverage of the C that reads foreign bytes.
FUZZ = LD_PRELOAD="$$(.venv-fuzz/bin/python -c '$(RUNTIME)')" PYTHONMALLOC=malloc \
  ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16:halt_on_error=1:allocator_may_return_null=1:handle_segv=0 \
  UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 .venv-fuzz/bin/python -P
FOR = -max_total_time=60 -max_len=4096 -artifact_prefix=build/fuzz/ $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.installed $(VENV)/.with-test $(VENV)/.with-fuzz .venv-fuzz/.installed  ## the parsers of frames and of a node's messages, three minutes (ARGS="-max_total_time=600": each)
	mkdir -p build/fuzz/frames build/fuzz/stream
	$(PY) tests/fuzz/fuzz_frame.py $(FOR) build/fuzz/frames tests/data/corpus/frames
	$(FUZZ) tests/fuzz/fuzz_frame.py $(FOR) build/fuzz/frames tests/data/corpus/frames
	$(FUZZ) tests/fuzz/fuzz_stream.py $(FOR) build/fuzz/stream tests/data/corpus/stream

.PHONY: coverage
coverage: .venv-trace/.installed  ## which lines the tests reach, kernels included (a traced build)
	.venv-trace/bin/python -P -m coverage run -m pytest --ignore=tests/packaging $(ARGS)
	.venv-trace/bin/python -P -m coverage report

.PHONY: wheel
wheel: $(VENV)/.with-dist  ## the sdist, and from it the wheel, in dist/
	rm -rf dist
	$(PY) -m build

.PHONY: clean
clean:  ## all that the verbs made
	rm -rf $(VENV) .venv-sanitize .venv-fuzz .venv-trace .coverage build dist docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache
	rm -f dydx_perf/ext/*.pxd dydx_perf/ext/*.h dydx_perf/ext/*.so ext/*.c
	find dydx_perf ext tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# --- how they are set up ---------------------------------------------------------------------------------------

define make_venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  echo "dydx-perf needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)." >&2; \
  echo "Name another one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
$(PYTHON) -m venv --clear $(@D)
$(call requirements,$(2)) | $(1) -m pip install -q -r /dev/stdin
@touch $@
endef

# The environment with what builds the package and what it needs to run.
$(VENV)/.made: pyproject.toml
	$(call make_venv,$(BIN)/python,p["build-system"]["requires"] + p["project"]["dependencies"])

$(VENV)/.with-%: $(VENV)/.made
	$(call requirements,$(call extra,$*)) | $(BIN)/python -m pip install -q -r /dev/stdin
	@touch $@

# The list of sources is a prerequisite of its own, so that a removed file counts as a change.
build/sources.txt: FORCE
	@mkdir -p build
	@echo "$(SOURCES)" | cmp -s - $@ || echo "$(SOURCES)" > $@
FORCE:

install = $(1) -m pip install -q --no-build-isolation --no-deps --force-reinstall .

$(VENV)/.installed: $(VENV)/.made build/sources.txt setup.py README.md $(SOURCES)
	$(call install,$(BIN)/python)
	@touch $@

# The sanitizers' runtimes have to be in the process before Python; libstdc++ too, or a C++ exception thrown
# inside NumPy is not recognised.
define RUNTIME
import os, subprocess, sysconfig; cc = sysconfig.get_config_var("CC").split()[0]; cc = os.environ.get("CC", cc); \
print(" ".join(os.path.realpath(subprocess.check_output([cc, "-print-file-name=" + name], text=True).strip()) \
for name in ("libasan.so", "libubsan.so", "libstdc++.so.6")))
endef

# Kernels built in another way have an environment of their own.
.venv-%/.made: PY = .venv-$*/bin/python -P
.venv-%/.made: pyproject.toml
	$(call make_venv,.venv-$*/bin/python,p["build-system"]["requires"] + p["project"]["dependencies"] \
	  + $(call extra,test) + $(call extra,coverage) + $(call extra,grpc) $(MORE))

.venv-fuzz/.made: MORE = + $(call extra,fuzz)
.venv-fuzz/.installed: export DYDX_PERF_FUZZ := 1
.venv-fuzz/.installed .venv-sanitize/.installed: export DYDX_PERF_SANITIZE := address,undefined
.venv-trace/.installed: export DYDX_PERF_TRACE := 1
.venv-%/.installed: export DYDX_PERF_PURE := 0
.venv-%/.installed: .venv-%/.made build/sources.txt setup.py README.md $(SOURCES)
	$(call install,.venv-$*/bin/python)
	@touch $@
.PRECIOUS: .venv-%/.made .venv-%/.installed $(VENV)/.with-%
