# The manifold book: every target sets up what it needs. A machine needs Python 3.11+, make, gcc and git, nothing else.
#   make book   environment, the whole book on the default profile, its HTML pages      PROFILE=digits JOBS=2
#   make test   what .ci/run calls: lint, unit tests, the whole book at the smoke profile
#   make lab    JupyterLab on the notebooks
#   make help   the other targets
PYTHON ?= python3
PROFILE ?= digits
JOBS ?= 2
WORKERS ?= 2
POINTS ?= 20000
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
STAMP := $(VENV)/.ready
BOOK := $(PY) -m manifold_utils

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env book run html test scale kills lint lab sync data publish readme student slides status plan contact-sheet lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP) ## make .venv from requirements.lock (a second call does nothing)

# The stamp is written last: an installation killed half-way is completed by the next call.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; ok = v >= (3, 11); \
	    ok or print(f"The book needs Python 3.11 or newer, but {sys.executable} is {v[0]}.{v[1]}. Install a newer one and call: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11", file=sys.stderr); sys.exit(not ok)'
	@$(PY) -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) || { echo "Python could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing the pinned packages into $(VENV) (a few minutes the first time)"
	@$(PIP) install --quiet --quiet --progress-bar off -r requirements.lock
	@$(PIP) install --quiet --quiet --no-deps --no-build-isolation --editable .
	@$(BOOK) settings >/dev/null
	@touch $(STAMP)

book: env ## run the whole book and build its pages: PROFILE=digits JOBS=2
	@$(BOOK) run --profile $(PROFILE) --jobs $(JOBS)
	@$(BOOK) html --profile $(PROFILE)

run: env ## run the chapters only
	@$(BOOK) run --profile $(PROFILE) --jobs $(JOBS)

html: env ## build the HTML book from the executed notebooks
	@$(BOOK) html --profile $(PROFILE)

lint: env ## style and common mistakes
	@$(PY) -m ruff check --quiet .

# One file of tests stays on one worker, so that the whole book runs once; it is started first.
test: lint ## lint, unit tests, the whole book at smoke
	@$(PY) -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

scale: env ## a cloud of POINTS points (20,000): killed, resumed, checked (minutes, 3 GB; 151407: half an hour, 13 GB)
	@$(PY) tests/scale.py --points $(POINTS)

kills: env ## a hundred kills at random moments while training and tiling (tens of minutes)
	@$(PY) tests/kills.py

lab: env ## open JupyterLab on the notebooks
	@$(BOOK) settings >/dev/null
	@$(PY) -m jupyterlab notebooks

sync: env ## bring each notebook and its text twin in step, and strip outputs
	@$(BOOK) sync

data: env ## which data sets are there, which are missing, and how to get them
	@$(BOOK) data

publish: env ## take an executed book (numbers, notebooks, small pictures) into notebooks/reference: PROFILE=digits
	@$(BOOK) publish --profile $(PROFILE)

readme: env ## fill the generated tables of README.md
	@$(BOOK) readme

student: env ## the students' edition in build/student, the teacher's copy in build/teacher: PROFILE=digits
	@$(BOOK) student --profile $(PROFILE) --out build/student --teacher build/teacher

slides: env ## slides of the lecture, from chapter 00 as it ran: PROFILE=digits
	@$(BOOK) slides --profile $(PROFILE)

status: env ## which chapters are done, stale or failed
	@$(BOOK) status --profile $(PROFILE)

plan: env ## runs, parameters, bytes and minutes of a profile, before anything starts
	@$(BOOK) plan --profile $(PROFILE)

contact-sheet: env ## all figures of a profile in one picture
	@$(BOOK) contact-sheet --profile $(PROFILE)

# Renewal: the newest versions that pyproject.toml allows, in an environment of their own. Local build tags (+cpu) are
# dropped, and so are the CUDA packages, which pip brings with torch where they belong. Run `make test` before committing.
lock: ## renew requirements.lock from pyproject.toml
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --quiet --progress-bar off setuptools '.[callbacks]'
	{ sed -n '1,/^$$/p' requirements.lock; build/lock/bin/python -m pip freeze --all --exclude pip --exclude manifold-book \
	    | sed -E -e 's/\+[A-Za-z0-9.]+$$//' -e '/^(nvidia|cuda|triton)/d'; } > build/requirements.lock
	mv build/requirements.lock requirements.lock && rm -rf build/lock

clean: ## remove the environment and what was built; data/ stays
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
