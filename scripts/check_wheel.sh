#!/usr/bin/env bash
# Builds the wheel, looks into it, installs it into a clean environment and runs it there.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

"$python" -m build --wheel --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
wheel="$(ls "$work"/dist/*.whl)"
"$python" scripts/check_wheel_content.py "$wheel"

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt "$wheel"
cd "$work"
"$work/venv/bin/cloudseed" --version
"$work/venv/bin/cloudseed" init starter
head="1 4 b O O O c O O O d O O O e O O O 0 | 1a 1b 3c |"
{
    echo "id,score,scope"
    echo "a,1.0,$head Sr 0.2 Ti 0.2 O 0.6"
    echo "b,2.0,$head Ba 0.2 Ti 0.2 O 0.6"
    echo "c,4.0,$head K 0.2 Ta 0.2 O 0.6"
} >known.csv
{
    echo "id,scope"
    echo "d,$head Ca 0.2 Ti 0.2 O 0.6"
} >pool.csv
"$work/venv/bin/cloudseed" rank --pool pool.csv --measured known.csv --objective "max score"
echo "wheel: installed and run in a clean environment"
