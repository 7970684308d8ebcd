# Sourced by run_local.sh and run_tests.sh: finds a Python and makes the environment.

# Prints a Python that Albumen runs on: $PYTHON if set, else the first that fits.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "Albumen needs Python 3.10 to 3.13 with the modules venv and ensurepip." >&2
  echo "Install one (Debian, Ubuntu: apt install python3-venv; macOS: brew install python@3.12)," >&2
  echo "or name yours: PYTHON=/path/to/python3 $0" >&2
  return 1
}

# make_environment FOLDER EXTRA: FOLDER/.venv with Albumen and its extra packages installed from FOLDER.
# Does nothing when that was done before and setup.py has not changed since.
make_environment() {
  local here="$1" extra="$2" python stamp wanted
  python="$(find_python)"
  stamp="$here/.venv/albumen-$extra"
  wanted="$("$python" -c 'import hashlib, sys; print(sys.version, hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$here/setup.py")"
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x "$here/.venv/bin/albumen" ]; then
    return
  fi
  echo "Making the environment $here/.venv (once; several GB, some minutes) ..." >&2
  # Python compiles modules when they are first used: all of the packages' would take minutes here.
  if ! { "$python" -m venv "$here/.venv" \
    && "$here/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
      -e "$here[$extra]" >&2; }; then
    echo "The packages could not be installed: see above. Needed: a connection to a package index and 8 GB of disk." >&2
    return 1
  fi
  printf '%s\n' "$wanted" >"$stamp"
}
