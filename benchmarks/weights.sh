#!/usr/bin/env bash
# Trains the built-in generators again: `bash benchmarks/weights.sh generated`, or `... london PHOTOGRAPHS` with the folder of
# the Face Research Lab London Set. Writes NAME.safetensors (half precision) and the run with its report to weights/. Their
# cards are lssl/weights/*.md. Takes hours on two cores, minutes on a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
name=${1:-generated}
mkdir -p weights
case $name in
generated)
  "$PYTHON" -m lssl generate-faces weights/faces --subjects 150 --expressions all --size 128 --seed 0
  "$PYTHON" -m lssl train --data weights/faces --preset standard --iterations 2500 --seed 0 --out weights/run-generated
  ;;
london)
  "$PYTHON" -m lssl prepare london "${2:?the folder of the photographs}" weights/photographs --size 256
  "$PYTHON" -m lssl train --data weights/photographs --preset standard --iterations 2500 --seed 0 --out weights/run-london
  ;;
*)
  echo "expected generated or london, not $name" >&2
  exit 2
  ;;
esac
"$PYTHON" - "$name" <<'CODE'
import sys

from lssl.models.export import load_generator, save_generator

name = sys.argv[1]
model = load_generator(f"weights/run-{name}")
model.network.half()
save_generator(f"weights/{name}.safetensors", model)
CODE
ls -l "weights/$name.safetensors"
