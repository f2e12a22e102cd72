# Everything runs in .venv, which is made when first needed and anew when the requirements change.
#   PYTHON=python3.12       the Python to make it with
#   TORCH=torch==2.13.0     the torch requirement; left out, what was asked for last stays installed
#   ARGS="..."              passed on to whatever the target runs
PYTHON ?= python3
ARGS ?=
RUFF = ruff>=0.17,<0.18
MATHJAX = mathjax@3.2.2

# The choice of torch is kept beside the stamp, so that a plain `make test` after
# `make setup TORCH=torch==2.13.0` changes nothing, while naming another torch re-makes .venv.
chosen := $(shell cat .venv/torch-choice 2>/dev/null)
ifeq ($(strip $(TORCH)),)
override TORCH := $(or $(chosen),torch>=2.10)
endif
ready := .venv/ready
py := .venv/bin/python

# Of everything the oldest that requirements.txt allows. OLDEST=torch==2.13.0 takes another torch.
OLDEST ?= $(shell sed -n 's/^torch>=\([0-9.]*\).*/torch==\1/p' requirements.txt)
old := .venv-oldest/bin/python

# Waiting OpenMP threads sleep, after a short look: see minidalle/__init__.py.
export OMP_WAIT_POLICY = PASSIVE
export GOMP_SPINCOUNT = 10000

.PHONY: help setup demo test test-oldest lessons lessons-save results tables student grade gradescope lab sources browser book book-test bench gpu lint clean again

help:  ## print these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(ready)  ## make the virtual environment .venv (TORCH=torch==2.13.0 chooses the torch)

demo: $(ready)  ## train on drawn digits, then draw captions: runs/demo.png (ARGS="--data mnist")
	$(py) -m minidalle demo $(ARGS)

test: $(ready)  ## run the tests (ARGS="tests/test_clip.py -k loss")
	$(py) -m pytest $(ARGS)

test-oldest: .venv-oldest/ready  ## run them with the oldest packages that are promised, in .venv-oldest
	$(old) -m pytest $(ARGS)

lab: $(ready)  ## open your own copies of the lessons in JupyterLab: student/, without solutions
	$(py) tools/student.py --lab
	cd student && ../$(py) -m jupyter lab start_here.ipynb $(ARGS)

sources: $(ready)  ## open the lessons themselves, with their solutions (for their authors)
	cd lessons && ../$(py) -m jupyter lab $(ARGS)

student: $(ready)  ## write student/, copies of the lessons in which the solutions are cut out
	$(py) tools/student.py $(ARGS)

lessons: $(ready)  ## run every lesson at the smoke budget and compare what it prints
	rm -rf build/lessons
	MINIDALLE_BUDGET=smoke MINIDALLE_QUIET=1 MINIDALLE_RUNS="$(CURDIR)/build/lessons" \
	  $(py) -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 lessons $(ARGS)

lessons-save: $(ready)  ## run the lessons at a real budget and store their outputs (ARGS="04_clip")
	$(py) tools/lessons.py save $(ARGS)

results: $(ready)  ## measure what the lessons should give: lessons/expected.json, and the tables
	$(py) tools/lessons.py results $(ARGS)
	$(py) tools/tables.py

tables: $(ready)  ## write the tables of README.md and INSTRUCTOR.md anew
	$(py) tools/tables.py

grade: $(ready)  ## grade notebooks (ARGS="submissions/*/03_*.ipynb --csv grades.csv")
	$(py) -m minidalle grade $(ARGS)

gradescope: $(ready)  ## write the zip that Gradescope takes (ARGS="03")
	$(py) tools/gradescope.py $(ARGS)

browser: .venv/playwright  ## open the lessons in a headless Chromium (for maintainers)
	MINIDALLE_BROWSER=1 $(py) -m pytest tests/browser/test_lab.py tests/browser/test_playground.py $(ARGS)

book: .venv-book/ready  ## write the course as a web page: build/book/index.html (needs npm)
	.venv-book/bin/python book/build.py $(ARGS)

book-test: .venv/playwright book  ## open every page of the book in a headless Chromium
	MINIDALLE_BROWSER=1 $(py) -m pytest tests/browser/test_book.py $(ARGS)

bench: $(ready)  ## measure speed and memory, as JSON lines
	$(py) bench/bench.py $(ARGS)

gpu: $(ready)  ## all that wants a GPU, the best first: runs/gpu/ (ARGS="--seconds 480")
	$(py) bench/gpu.py $(ARGS)

lint: .venv/ruff  ## check the style with ruff
	$(py) -m ruff check .

clean:  ## remove .venv and its like, caches and build leftovers; data/ and runs/ are never touched
	rm -rf .venv .venv-oldest .venv-book .pytest_cache .ruff_cache build minidalle.egg-info
	find . \( -path ./data -o -path ./runs -o -path ./.git \) -prune -o \
	  \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +

# Other names for torch re-make .venv even though nothing else has changed.
ifneq ($(chosen),$(TORCH))
$(ready): again
endif

$(ready): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { echo \
	  "minidalle needs Python 3.10 or newer, but PYTHON=$(PYTHON) is" \
	  "$$($(PYTHON) --version 2>/dev/null || echo not there): name another," \
	  "as in make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo \
	  "$(PYTHON) cannot make a virtual environment: install its venv module" \
	  "(on Debian and Ubuntu the package python3-venv), or name another with PYTHON=" >&2; exit 1; }
	@echo "making .venv with $(TORCH): a minute or two, and longer where torch is a large download"
	$(PYTHON) -m venv --clear .venv
	@echo '$(TORCH)' > .venv/torch-choice
	$(py) -m pip install --quiet '$(TORCH)'
	$(py) -m pip install --quiet -r requirements.txt
	$(py) -m pip install --quiet --no-deps -e .
	@touch $@

# A Python up to 3.12, for the oldest numpy knows no newer one.
.venv-oldest/ready: requirements.txt
	@echo "making .venv-oldest with $(OLDEST)"
	$(PYTHON) -m venv --clear .venv-oldest
	sed '/^torch/d; s/>=/==/' requirements.txt > .venv-oldest/requirements.txt
	$(old) -m pip install --quiet '$(OLDEST)'
	$(old) -m pip install --quiet -r .venv-oldest/requirements.txt
	$(old) -m pip install --quiet --no-deps -e .
	@touch $@

# Of its own, so that no student gets what only the book needs.
.venv-book/ready: book/requirements.txt
	@command -v npm >/dev/null || { echo "make book takes MathJax with npm, and there is no npm:" \
	  "install it (on Debian and Ubuntu the package npm)" >&2; exit 1; }
	@echo "making .venv-book"
	$(PYTHON) -m venv --clear .venv-book
	.venv-book/bin/python -m pip install --quiet -r book/requirements.txt
	npm install --silent --no-save --no-audit --no-fund --prefix .venv-book $(MATHJAX)
	@touch $@

.venv/playwright: $(ready) tests/browser/requirements.txt
	$(py) -m pip install --quiet -r tests/browser/requirements.txt
	@touch $@

.venv/ruff: $(ready)
	$(py) -m pip install --quiet '$(RUFF)'
	@touch $@
