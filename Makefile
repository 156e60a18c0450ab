# Portable: any make runs this. The work is in bin/, which tells what is missing before it installs anything.

.PHONY: help demo test up lint types check prove bench lock clean

# A process for each core, and a module's tests in one of them.
SIDE_BY_SIDE = --numprocesses logical --maxprocesses 4 --dist loadfile

help:
	@echo "make demo    set up, score the sample reviews with the nightly DAG, show the result"
	@echo "make test    set up, run all tests that need no service"
	@echo "make up      set up, start Airflow with the DAGs on the sample reviews; Ctrl-C stops it"
	@echo "make check   lint, types and the import contracts"
	@echo "make prove   the long checks: kills, fuzzing, soak"
	@echo "make bench   speed and memory beside what one would use instead"
	@echo "make lock    resolve requirements.txt anew from pyproject.toml"
	@echo "make clean   remove what demo and up have written (not the virtual environment)"
	@echo ""
	@echo "PYTHON=python3.12 picks an interpreter; TORCH_BUILD=cuda installs torch for a GPU worker."

demo:
	@bin/setup
	@bin/demo

test:
	@bin/setup
	@.venv/bin/python -m pytest $(SIDE_BY_SIDE)

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
	@REVIEW_SCORING_PROVE=1 .venv/bin/python -m pytest -m prove -rA

bench:
	@bin/setup
	@failed=; for script in benchmarks/bench_*.py; do .venv/bin/python "$$script" || failed="$$failed $$script"; done; \
	    [ -z "$$failed" ] || { echo "bench: no result from$$failed; the reason stands above" >&2; exit 1; }

lock:
	@bin/setup
	@bin/lock

clean:
	rm -rf .airflow
