#!/bin/bash
# Makes the Python environment under target/ when it is missing or out of date, then runs the benchmark: of the
# indexes, or, with `features`, `experiments` or `search` as first argument, of the feature store, of experiments, or of
# keyword and hybrid search. Further arguments come from the command line, or from BENCH_ARGS when there are none.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$(dirname "$here")/target}
venv=$target/bench-venv
python=${PYTHON:-python3}
folder=$here
case ${1:-} in features | experiments | search)
    folder=$here/$1
    venv=$target/bench-$1-venv
    shift
    ;;
esac

if ! cmp -s "$folder/requirements.txt" "$venv/requirements.txt"; then
    echo "bench: preparing the Python environment in $venv" >&2
    mkdir -p "$target"
    "$python" -m venv "$venv" || { echo "bench: $python -m venv failed; install python3-venv" >&2; exit 1; }
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$folder/requirements.txt"
    cp "$folder/requirements.txt" "$venv/requirements.txt"
fi

if [ $# -eq 0 ]; then
    # Splitting into words is the purpose here.
    # shellcheck disable=SC2086
    set -- ${BENCH_ARGS:-}
fi
# -B keeps compiled files out of the source folder; modules that the benchmarks share lie here.
PYTHONPATH=$here exec "$venv/bin/python" -B "$folder/run.py" --target "$target" "$@"
