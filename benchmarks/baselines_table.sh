#!/usr/bin/env bash
# Table 2 with a row per method, each method under its own time limit, so that one that fails or is late does not affect the
# others:
#
#     bash benchmarks/baselines_table.sh london/                                     the small variants and standard
#     SEEDS=1 ITERATIONS=1000 bash benchmarks/baselines_table.sh london/ stargan-small cyclegan-small
#     SEEDS=2 FOLDS=4 LIMIT=1800 bash benchmarks/baselines_table.sh rafd/ paper stargan cyclegan icgan
#
# $SEEDS (2) trainings per method and fold, $FOLDS (1: the folder's own split), $ITERATIONS (each preset's own), $LIMIT (600)
# seconds per method, $PORTRAITS (1; 0 leaves out the two-sample test, which takes longest to measure), $PYTHON (python3).
# Results go to $OUT, else to benchmarks/baselines/: a folder per method with its report; tables.txt, tables.json, figure.png.
# A method that ran out of time is continued when the command is repeated.
set -uo pipefail
data=$(realpath "${1:?give a data set folder, such as lssl prepare writes}")
shift
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
out=${OUT:-benchmarks/baselines}
methods=("$@")
((${#methods[@]})) || methods=(standard stargan-small cyclegan-small icgan-small)
more=()
[[ -n ${ITERATIONS:-} ]] && more+=(--set "schedule.iterations=$ITERATIONS")
[[ ${PORTRAITS:-1} == 0 ]] && more+=(--no-portraits)
mkdir -p "$out"
failed=()
for method in "${methods[@]}"; do
  echo "== $method"
  timeout -k 30 -s INT "${LIMIT:-600}" "$PYTHON" -m lssl evaluate transfer --data "$data" --method "$method" \
    --seeds "${SEEDS:-2}" --folds "${FOLDS:-1}" --out "$out/$method" --quiet "${more[@]}" >"$out/$method.log" 2>&1 \
    || { failed+=("$method"); tail -n 3 "$out/$method.log"; }
done

models=()
for method in "${methods[@]}"; do
  run="$out/$method/state/fold-00-$method-seed-0/generator"
  [[ -f $run/generator.safetensors ]] && models+=(--model "$method=$run")
done
if ((${#models[@]})); then
  timeout 120 "$PYTHON" -m lssl evaluate figure --data "$data" "${models[@]}" --out "$out/figure" --quiet \
    && cp "$out/figure/figure.png" "$out/figure.png"
fi

timeout 60 "$PYTHON" - "$out" "${methods[@]}" <<'END'
import json, sys
from pathlib import Path

from lssl.evaluation.report import Table, console_table

out, methods = Path(sys.argv[1]), sys.argv[2:]
merged: dict[str, Table] = {}
for method in methods:
    path = out / method / "results.json"
    for table in json.loads(path.read_text())["tables"] if path.is_file() else ():
        whole = merged.setdefault(table["title"], Table(table["title"], table["header"], [], table["note"]))
        whole.rows += [row for row in table["rows"] if row[0] not in {known[0] for known in whole.rows}]
text = "\n\n".join(console_table(table) for table in merged.values())
(out / "tables.txt").write_text(text + "\n")
(out / "tables.json").write_text(json.dumps([vars(table) for table in merged.values()], indent=1) + "\n")
print(text)
END
((${#failed[@]})) && echo "failed or out of time (repeat to continue): ${failed[*]}" && exit 1
exit 0
