# make demo | verify | test | slow | check | fuzz | proofs | notebooks | book | book-check | bench | lab | clean.   Each sets up what it needs in .venv first.
PY ?= python3
BIN := .venv/bin
LISTS := requirements.txt pyproject.toml
# Two processes with one BLAS thread each: four threads on two cores would wait for each other.  They keep their byte code,
# which each of them, and every process that a test starts, would else compile again.  A file of tests stays in one of
# them, for the nets that it trains for all its tests.
PYTEST := PYTHONDONTWRITEBYTECODE= OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
# What a proof prints is kept in tests/fuzz/proofs/, and committed.
RECORD := $(BIN)/python tests/fuzz/record.py

.DELETE_ON_ERROR:
.PHONY: demo verify test slow check fuzz proofs notebooks book book-check bench lab clean

demo: .venv/ready            ## train, prune by OBD and by magnitude, table and figures in out/
	MPLBACKEND=Agg $(BIN)/python -m pruning demo

verify: .venv/ready          ## every formula of the sources on trial, right forms and wrong ones: a minute
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pruning verify

test: .venv/ready-test       ## the tests that need nothing but NumPy (and torch, if it is there): a minute or two
	MPLBACKEND=Agg $(PYTEST) --dist loadfile -m "not notebook and not slow"

slow: .venv/ready-test       ## the tests that take longer: experiments from end to end, random nets by the hundred
	MPLBACKEND=Agg $(PYTEST) --dist loadfile -m "slow and not notebook and not book"

check: .venv/ready-check     ## lint, types, all tests with torch, array-api-strict and dask, fuzz, all notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test
	$(MAKE) slow
	$(MAKE) fuzz
	$(MAKE) verify
	$(MAKE) notebooks
	$(MAKE) book-check

notebooks: .venv/ready-test  ## execute every notebook from a clean kernel
	$(PYTEST) -m notebook

book: .venv/ready-book       ## all of this as a book, out/book/index.html: a minute or two, opened from disk
	$(BIN)/python book/build.py

book-check: book             ## what the book promises; every page in headless Chromium, at three widths (skips without one)
	$(PYTEST) --dist loadfile tests/book

fuzz: .venv/ready-test       ## ten thousand lasso and as many group-lasso problems, two thousand paths
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_lasso.py 10000
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_group_lasso.py 10000
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_lasso_path.py

proofs: .venv/ready-check    ## the ledger over twenty seeds and broken on purpose; problem sets under 200 keys (an hour and a half)
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(RECORD) ledger tests/fuzz/prove_ledger.py
	for set in reg cd group back conv obd surgery select widths; do \
	  OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(RECORD) $$set -m course.selftest $$set 200 || exit; done
	$(RECORD) grading tests/benchmarks/grading.py

bench: .venv/ready-bench     ## ratios to PyTorch, to the bare matrix products and to other lasso solvers, and how cost grows (twenty minutes)
	for net in lenet5 resnet20 vgg16; do $(BIN)/python tests/benchmarks/nets.py $$net || exit; done
	for net in mlp lenet5; do $(BIN)/python tests/benchmarks/peers.py $$net || exit; done
	$(BIN)/python tests/benchmarks/mlp_step.py
	$(BIN)/python tests/benchmarks/layers.py
	$(BIN)/python tests/benchmarks/memory.py
	$(BIN)/python tests/benchmarks/lasso.py
	$(BIN)/python tests/benchmarks/group_lasso.py
	$(BIN)/python tests/benchmarks/lasso_path.py
	$(BIN)/python tests/benchmarks/reconstruction.py
	for net in mlp lenet5; do $(BIN)/python tests/benchmarks/curvature.py $$net || exit; done
	$(BIN)/python tests/benchmarks/small_net.py
	$(BIN)/python tests/benchmarks/growth.py

lab: .venv/ready             ## open the notebooks
	$(BIN)/jupyter lab notebooks

clean:                       ## everything that the other targets made
	rm -rf .venv out build book/_generated *.egg-info

.venv/bin/python:
	$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with make PY=python3.12")'
	$(PY) -m venv .venv

.venv/ready: .venv/bin/python $(LISTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/ready-test: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	touch $@

.venv/ready-check: .venv/ready-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,verify,dev,cluster]"
	touch $@

.venv/ready-book: .venv/ready-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,book]"
	touch $@

.venv/ready-bench: .venv/ready-check
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,verify,dev,cluster,bench]"
	touch $@
