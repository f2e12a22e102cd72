#!/usr/bin/env bash
# What `make setup` does, with the CPU build of torch, whose address uv knows: a container seldom has
# a GPU, and the CUDA build is several GB. Afterwards every target of the Makefile takes this .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python3 -m venv --clear .venv
echo 'torch>=2.10' > .venv/torch-choice
python3 -m pip install --quiet uv
uv pip install --quiet --python .venv/bin/python --torch-backend cpu -r requirements.txt
.venv/bin/python -m pip install --quiet --no-deps -e .
touch .venv/ready
echo "ready: make lab opens the lessons, make demo trains and draws"
