#!/usr/bin/env bash
# Makes the environment .venv beside this script (once) and runs the main job.
#
#   ./run_local.sh ARCHIVE [LIBRARY] [OPTIONS]   index ARCHIVE, group the faces, write the report
#   ./run_local.sh                               the same on a small demonstration archive
#
# LIBRARY defaults to ARCHIVE-albumen. Options are those of `albumen run`.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/environment.sh"

case "${1:-}" in
  -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac

make_environment "$here" demo
albumen="$here/.venv/bin/albumen"

if [ $# -eq 0 ]; then
  archive="$here/demo"
  echo "No archive given: showing the job on a demonstration archive, $archive"
  [ -d "$archive" ] || "$albumen" demo "$archive"
  exec "$albumen" run "$archive" "$here/demo-albumen"
fi

archive="${1%/}"
[ -n "$archive" ] || archive=/
shift
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
  library="$1"
  shift
else
  library="$archive-albumen"
fi
exec "$albumen" run "$archive" "$library" "$@"
