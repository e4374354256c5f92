# The main commands are `make demo` and `make test`. Each sets up .venv.
PYTHON ?= python3
# Processes that run tests in parallel; each takes up to 2 GB.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

.PHONY: help demo test test-chardet5 lint types pytest quick acceptance campaigns matrix portability bench lock clean

help:
	@echo "make demo        set up .venv, train on real text for two minutes, then sample"
	@echo "make test        set up .venv, then run lint, type checks and tests"
	@echo "make acceptance  run the long tests on real data (hours); needs RNNTK_DATA"
	@echo "make campaigns   fuzz every format; kill trainings, race them, fill their disk (hours)"
	@echo "make matrix      run the tests under each Python, with pinned and lowest dependencies (hours)"
	@echo "make portability test the kernels compiled for Windows and on an emulated Arm processor"
	@echo "make bench       run the benchmarks; installs PyTorch to compare with"
	@echo "make lock        update constraints.txt (needs uv); UPGRADE=--upgrade for the newest versions"
	@echo "make release     build and check the release; publishes nothing"
	@echo "make clean       remove .venv and caches"
	@echo "make docs        build the documentation as a site: site/index.html"

# constraints.txt pins the tested versions.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if (3,10) <= sys.version_info[:2] <= (3,13) else "rnntk needs Python 3.10 to 3.13; choose one with: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(DEV): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/rnntk train --max-time 2m --sample-every 0 --run runs/demo-$$(date +%Y%m%d-%H%M%S)
	@echo; echo "A sample after two minutes of training:"; echo
	$(BIN)/rnntk sample --seed 1 --length 600

test: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

# Encoding detection must also work with chardet 5.2, which answers differently from 7.
test-chardet5:
	$(PYTHON) -m venv .venv-chardet5
	.venv-chardet5/bin/python -m pip install --quiet --disable-pip-version-check chardet==5.2.0 click pytest hypothesis numpy 'tomli; python_version < "3.11"'
	PYTHONPATH=. .venv-chardet5/bin/python -m pytest -q tests/corpora/test_encoding.py tests/corpora/test_languages.py

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/mypy

pytest: $(DEV)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

quick: $(DEV)
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal tests/text tests/kernels tests/storage tests/cli/test_prep.py tests/cli/test_main.py

acceptance: $(DEV)
	$(BIN)/python -m pytest -q -m acceptance

# The tests include a short run of each.
campaigns: $(DEV)
	$(BIN)/python tests/acceptance/fuzz.py --inputs 1000000
	$(BIN)/python tests/acceptance/kill.py --kills 1000
	$(BIN)/python tests/acceptance/races.py --rounds 500
	$(BIN)/python tests/acceptance/disk.py --faults 1000

# All cells, or some: make matrix CELLS="pinned-3.12 lowest-3.10". Cells that passed at this commit are skipped.
matrix: $(DEV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check nox uv
	PYENV_VERSION=$$(pyenv versions --bare 2>/dev/null | grep -E '^3\.1[0-3]\.' | paste -sd:) \
		PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/nox $(if $(CELLS),-s $(CELLS))

# Needs Debian's packages gcc, qemu-user and gcc-aarch64-linux-gnu.
portability: $(DEV)
	$(BIN)/python tests/kernels/portability.py win64
	$(BIN)/python tests/kernels/portability.py aarch64

.PHONY: docs
docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "The site: site/index.html"

bench: $(DEV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/mnist.py
	$(BIN)/python benchmarks/sample.py
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/prep.py
	$(BIN)/python benchmarks/scaling.py

lock:
	uv pip compile --universal --python-version 3.10 --extra dev --no-emit-index-url --no-header --no-annotate \
		--no-strip-markers $(UPGRADE) -o constraints.txt pyproject.toml

# Runs outside the checkout, so that the wheel is imported.
.PHONY: release
RELEASE := $(CURDIR)/.venv-release/bin
release:
	@if grep -n 'rnntk\.example' pyproject.toml CITATION.cff || grep -n '^## Unreleased' CHANGELOG.md; then \
		echo "Change these first: see CONTRIBUTING.md, Making a release."; exit 1; fi
	rm -rf dist .venv-release
	$(PYTHON) -m venv .venv-release
	$(RELEASE)/python -m pip install --quiet --disable-pip-version-check build twine cffconvert
	$(RELEASE)/python -m build
	$(RELEASE)/python -m twine check --strict dist/*
	$(RELEASE)/cffconvert --validate
	$(RELEASE)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	cd .venv-release && $(RELEASE)/rnntk train --corpus demo_ko --units 16 --batch-size 4 --seq-length 16 --max-steps 50 --run runs/release
	cd .venv-release && $(RELEASE)/rnntk sample runs/release --length 50
	cd .venv-release && $(RELEASE)/rnntk runs

clean:
	rm -rf $(VENV) .nox .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist site
