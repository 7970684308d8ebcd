#!/usr/bin/env bash
# Makes the environment .venv beside this script (once) and checks the project: style, types, tests.
#
#   ./run_tests.sh [PYTEST OPTIONS]
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/environment.sh"
make_environment "$here" test
cd "$here"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy & # beside the tests: it takes one core for half a minute
types=$!
tests=0
# A process a core; the tests of a file share what they build. In order of names: whole runs come first, not
# last, when one process would wait for the other.
.venv/bin/python -m pytest -n logical --dist loadfile --no-loadscope-reorder "$@" || tests=$?
wait "$types"
exit "$tests"
