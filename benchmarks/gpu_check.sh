#!/usr/bin/env bash
# Everything that a machine with an NVIDIA GPU can check of LSSL, in one command and about six minutes on 16 cores:
#
#     make gpu-check                                     everything but the profile
#     bash benchmarks/gpu_check.sh build profile         some parts
#
# build       the kernels, for this card, in place (nothing is installed)
# tests       every test that runs on CUDA, in several processes
# memcheck    every operator under compute-sanitizer, if that is installed
# benchmarks  every operator against eager, compiled and its floor, as calls and in CUDA graphs
# train       300 iterations of `paper` and `standard` at 128x128, and of `standard` at 64x64
# profile     the kernels of one `paper` iteration, the longest first
#
# A part that fails or runs out of time does not stop the next. After the build, tests, memcheck and the compilation of
# references for the benchmarks run at the same time; the benchmarks then have the card to themselves. Logs, the profile and
# a copy of RESULTS.md go to $OUT, else to benchmarks/gpu-check/; the tables go to benchmarks/RESULTS.md, under the card's
# name. $PYTHON (python3) needs PyTorch 2.10 or later with CUDA, pytest, pytest-benchmark, what LSSL needs, and preferably
# pytest-xdist, without which it takes longer. LSSL_CHECK_DEVICE=cpu rehearses everything without a GPU.
set -uo pipefail
cd "$(dirname "$0")/.."
script=benchmarks/gpu_check.sh
PYTHON=${PYTHON:-python3}
device=${LSSL_CHECK_DEVICE:-cuda}
cores=$(nproc)
workers=$((cores > 12 ? 6 : cores > 1 ? cores / 2 : 1))
in_parallel=()
"$PYTHON" -c 'import xdist' 2>/dev/null && in_parallel=(-n "$workers")
operators=(benchmarks/bench_{pixel_shuffle_instance_norm,landmark_heatmap,gradient_penalty,rasterize,call_overhead}.py)

build() {
  LSSL_NATIVE=1 LSSL_CUDA=$([[ $device == cuda ]] && echo 1 || echo 0) "$PYTHON" setup.py build_ext --inplace
}

tests() {
  "$PYTHON" -m pytest tests -q -k "$device" "${in_parallel[@]}" -p no:cacheprovider --continue-on-collection-errors
}

memcheck() {
  local sanitizer
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null) || true
  if [[ $device == cpu ]]; then
    "$PYTHON" benchmarks/every_operator.py --device cpu
  elif [[ -z $sanitizer ]]; then
    echo "compute-sanitizer is not installed"
    return 3
  else
    # Without the caching allocator every tensor has its own allocation, so that overruns are found.
    export PYTORCH_NO_CUDA_MEMORY_CACHING=1
    "$sanitizer" --tool racecheck --kernel-name kns=lssl --error-exitcode 9 "$PYTHON" benchmarks/every_operator.py --few &
    "$sanitizer" --tool memcheck --kernel-name kns=lssl --error-exitcode 9 "$PYTHON" benchmarks/every_operator.py && wait $!
  fi
}

prepare() {
  "$PYTHON" -m pytest --benchmark --benchmark-prepare "${operators[@]}" -q "${in_parallel[@]}" -p no:cacheprovider \
    -k "$device and not peak"
}

benchmarks() {
  "$PYTHON" -m pytest --benchmark --benchmark-write --benchmark-seconds "${LSSL_CHECK_SECONDS:-0.1}" \
    --benchmark-columns median "${operators[@]}" -q -k "$device and not peak" -p no:cacheprovider
}

train() {
  "$PYTHON" -m pytest --benchmark --benchmark-write benchmarks/bench_train_command.py -q -k "$device" -p no:cacheprovider
}

profile() {
  "$PYTHON" benchmarks/profile_training.py --device "$device" --out "$LOGS/profile.txt"
}

if [[ ${1:-} == run ]]; then # from part(), in a process that a time limit can end
  "$2"
  exit
fi

LOGS=${OUT:-benchmarks/gpu-check}
mkdir -p "$LOGS"
LOGS=$(cd "$LOGS" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LOGS PYTHON PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1 MAX_JOBS=${MAX_JOBS:-$cores}
export TORCHINDUCTOR_CACHE_DIR=$scratch/inductor TRITON_CACHE_DIR=$scratch/triton TORCHINDUCTOR_COMPILE_THREADS=4
parts=" ${*:-build tests memcheck benchmarks train} "
wanted() { [[ $parts == *" $1 "* ]]; }

# part NAME SECONDS: runs it under a time limit; keeps its output, how it ended and how long it took.
part() {
  local name=$1 limit=$2 start=$SECONDS code outcome
  [[ $device == cpu ]] && limit=$((limit * 20))
  timeout --kill-after=10 "$limit" bash "$script" run "$name" >"$LOGS/$name.log" 2>&1 </dev/null
  code=$?
  case $code in
    0) outcome=passed ;;
    3) outcome="left out" ;;
    124 | 137) outcome="FAILED: more than $limit s" ;;
    *) outcome="FAILED: exit $code" ;;
  esac
  printf '%-11s %4d s   %-22s %s\n' "$name" $((SECONDS - start)) "$outcome" \
    "$(grep -aE '[[:alnum:]]' "$LOGS/$name.log" | tail -n 1 | cut -c1-100)" | tee "$scratch/$name.row" >&2
}

wanted build && part build 170
wanted tests && part tests 200 &
wanted memcheck && part memcheck 150 &
wanted benchmarks && part prepare 150 &
wait
wanted benchmarks && part benchmarks 150
wanted train && part train 120
wanted profile && part profile 60
cp -f benchmarks/RESULTS.md "$LOGS/" 2>/dev/null

echo
echo "part         took    outcome                last line"
for name in build tests memcheck prepare benchmarks train profile; do cat "$scratch/$name.row" 2>/dev/null; done
[[ -f $LOGS/benchmarks.log ]] && grep -a '^|' "$LOGS/benchmarks.log" | cut -c1-200
[[ -f $LOGS/train.log ]] && grep -a '^|' "$LOGS/train.log"
[[ -f $LOGS/profile.txt ]] && head -n 30 "$LOGS/profile.txt"
echo "logs and tables: $LOGS"
! grep -q FAILED "$scratch"/*.row
