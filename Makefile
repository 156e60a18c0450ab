# Works with any make. The scripts are in bin/; bin/setup checks its requirements before it installs anything.

.PHONY: help demo test up lint types check prove matrix bench lock clean

# One process per core; the tests of a module run in the same process. The modules are taken in the order in which they are
# collected: xdist would leave those with a single test to the end, and the longest of them would run alone.
IN_PARALLEL = --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

help:
	@echo "make demo    install, score the sample reviews with its nightly DAG, show the result"
	@echo "make test    install, run all tests that do not need a service"
	@echo "make up      install, start Airflow with the DAGs and the sample reviews; Ctrl-C stops it"
	@echo "make check   run lint, type checks and import contracts"
	@echo "make prove   run the long tests: kills, fuzzing, planted bugs, growth of memory"
	@echo "make matrix  run the tests with each supported version of Airflow and Python"
	@echo "make bench   measure speed and memory, compared with pandas, dlt, transformers and OpenVINO"
	@echo "make lock    update requirements.txt from pyproject.toml"
	@echo "make clean   delete the data of demo and up (not the virtual environment)"
	@echo ""
	@echo "PYTHON=python3.12 selects the interpreter; TORCH_BUILD=cuda installs torch for a GPU worker."

demo:
	@bin/setup
	@bin/demo

test:
	@bin/setup
	@.venv/bin/python -m pytest $(IN_PARALLEL)

up:
	@bin/setup
	@exec bin/up

check:
	@bin/setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

prove:
	@bin/setup
	@REVIEW_SCORING_PROVE=1 .venv/bin/python -m pytest -m prove -rA --ignore tests/warehouses
	@.venv/bin/python bin/emulators.py
	@REVIEW_SCORING_PROVE=1 REVIEW_SCORING_TEST_EMULATORS=.emulators .emulators/tests/bin/python -m pytest \
	    tests/warehouses -m prove -rA

matrix:
	@bin/setup
	@.venv/bin/python bin/matrix.py

bench:
	@bin/setup
	@failed=; for script in benchmarks/bench_*.py; do .venv/bin/python "$$script" || failed="$$failed $$script"; done; \
	    [ -z "$$failed" ] || { echo "bench: no result from$$failed; see the errors above" >&2; exit 1; }

lock:
	@bin/setup
	@bin/lock

clean:
	rm -rf .airflow
