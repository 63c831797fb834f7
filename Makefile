# Everything is set up by the targets below; nothing but Python >= 3.11 and make is needed first.
PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .tools
STAMP := $(VENV)/.installed
# More than a small machine has cores: half of a test's time is waiting for a process or a server, and others compute
# meanwhile.
PYTEST_WORKERS ?= 5
MEASURED := tests/unit tests/contract tests/integration
COVERED := *=93 farm=91 worker=90 comfy=96
CHAOS ?= --seeds 1 --jobs 1000 --faults 150 --seconds 600 --workers 4

export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never

.PHONY: help install demo test test-long coverage test-rest chaos bench-files bench-doctor check format docs docs-pictures clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP)  ## install the project and all it needs into .venv

# uv lives beside the project, not in the system: a Debian Python refuses `pip install`.
$(TOOLS)/bin/uv:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(STAMP): pyproject.toml uv.lock $(TOOLS)/bin/uv
	$(TOOLS)/bin/uv sync --frozen --all-extras --compile-bytecode --quiet --python $(PYTHON)
	@touch $@

demo: $(STAMP)  ## render one clip through the whole farm on embedded defaults
	$(BIN)/farm demo

# Every process of the tests would compile anew what it imports.
unexport PYTHONDONTWRITEBYTECODE

TESTS := $(BIN)/pytest -n $(PYTEST_WORKERS) --dist worksteal -m "not long" --durations 25

test: $(STAMP)  ## run the tests, but for those that take long; tell where the time goes
	$(TESTS)

test-long: $(STAMP)  ## run the tests that take long: a farm under faults
	$(BIN)/pytest -m long --durations 0

# Whole farms are left out: they wait more than they compute, and under the tracer they miss their times.
coverage: $(STAMP)  ## hold branch coverage of the other tests to its floors (COVERED)
	$(TESTS) $(MEASURED) --cov --cov-report=
	@for each in $(COVERED); do \
	  echo "branch coverage of $${each%=*}, at least $${each#*=} %:" && \
	  $(BIN)/coverage report --format=total --include="$${each%=*}/*" --fail-under="$${each#*=}" || exit 1; \
	done

test-rest: $(STAMP)  ## run the tests that `coverage` leaves out
	$(TESTS) $(MEASURED:%=--ignore=%)

chaos: $(STAMP)  ## break a farm for half an hour and more: 1,000 jobs, 150 faults (CHAOS="--seeds 1 2 …")
	$(BIN)/python -m bench.chaos $(CHAOS)

bench-files: $(STAMP)  ## how people's files fare: accepted, converted, roles, lint, plan; FILES=folder: those
	$(BIN)/python -m bench.files $(if $(FILES),--files $(FILES))

bench-doctor: $(STAMP)  ## how the doctor reads logs: precision and recall of each finding, speed
	$(BIN)/python -m bench.doctor

check: $(STAMP)  ## lint, format check, strict types, deploy files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.gpu.yml
	$(BIN)/hadolint deploy/Dockerfile.worker deploy/Dockerfile.farm
	$(BIN)/shellcheck deploy/*.sh .ci/run

format: $(STAMP)  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)  ## write the pages that are made from the code
	$(BIN)/python -m pages

docs-pictures: $(STAMP)  ## take the pictures of the docs anew: what a real browser sees in tests
	FARM_TEST_PICTURES=docs/page $(BIN)/pytest -q -m long tests/e2e/test_page_of_a_farm.py
	FARM_TEST_PICTURES=docs/flower $(BIN)/pytest -q -m long tests/e2e/test_flower.py

clean:  ## remove what was installed and built
	rm -rf $(VENV) $(TOOLS) .farm dist build
