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
"$work/venv/bin/cloudseed" db check "sqlite:///$work/none.db" && exit 1 || test $? -eq 1 -o $? -eq 2
echo "wheel: installed and run in a clean environment"
