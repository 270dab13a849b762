#!/usr/bin/env bash
# Trains the built-in generators again: `bash benchmarks/weights.sh generated`, or `... london PHOTOGRAPHS` with the folder of
# the Face Research Lab London Set. Writes to weights/: the run with its report, NAME.safetensors (half precision), and NAME/,
# the same with a card as `FaceEditor.save_pretrained` writes it. The figures, licence and limits in the shipped cards,
# lssl/weights/*.md, are added by hand. On one core `london` takes an hour (of 2023) to
# several, `generated` longer; on a GPU minutes. To try every step in minutes:
# ITERATIONS=2 WARM_UP=2 SUBJECTS=8 SIZE=32 OUT=/tmp/weights (SUBJECTS is for generated only).
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
OUT=${OUT:-weights}
name=${1:-generated}
training=(--preset standard --set "warm_up.updates=${WARM_UP:-400}" --out "$OUT/run-$name")
mkdir -p "$OUT"
case $name in
generated)
  "$PYTHON" -m lssl generate-faces "$OUT/faces" --subjects "${SUBJECTS:-150}" --expressions all --size "${SIZE:-128}" --seed 0
  "$PYTHON" -m lssl train --data "$OUT/faces" "${training[@]}" --iterations "${ITERATIONS:-2500}" --seed 0
  ;;
london)
  "$PYTHON" -m lssl prepare london "${2:?the folder of the photographs}" "$OUT/photographs" --size "${SIZE:-128}" --seed 1
  "$PYTHON" -m lssl train --data "$OUT/photographs" "${training[@]}" --iterations "${ITERATIONS:-3500}" --seed 1 --set losses.penalty=0.1
  ;;
*)
  echo "expected generated or london, not $name" >&2
  exit 2
  ;;
esac
"$PYTHON" - "$OUT" "$name" <<'CODE'
import sys
from pathlib import Path

from lssl.inference.sharing import save_folder
from lssl.models.export import load_generator, save_generator

out, name = Path(sys.argv[1]), sys.argv[2]
model = load_generator(out / f"run-{name}")
model.network.half()
save_generator(out / f"{name}.safetensors", model)
save_folder(out / name, model, None)
CODE
ls -l "$OUT/$name.safetensors" "$OUT/$name"
