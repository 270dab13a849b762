#!/usr/bin/env bash
# Compiles the CUDA kernels for the CPU, with AddressSanitizer and bounds checks, and runs every operator on them, so
# that a machine without a GPU detects accesses outside a kernel's memory, and barriers that not all threads reach.
# Takes minutes.
#
#     make cuda-on-host                                                   benchmarks/every_operator.py
#     bash csrc/support/on_host/check.sh tests/ops/test_rasterize.py -k "agree and cpu"      pytest, with these options
#
# Objects stay in build/on_host. PYTHON names the Python that has PyTorch. It cannot detect races between two barriers
# (the threads run in a fixed order), or tell anything about speed or the GPU's compiler.
set -euo pipefail
PYTHON=${PYTHON:-python3}
found=$(command -v "$PYTHON") || { echo "there is no $PYTHON: set PYTHON to the one that has PyTorch" >&2; exit 1; }
PYTHON=$(realpath --no-symlinks "$found")
cd "$(dirname "$0")/../.."
CXX=${CXX:-g++}
mkdir -p ../build/on_host
objects=$(cd ../build/on_host && pwd)
torch=$("$PYTHON" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent)')
flags=(-std=c++20 -O1 -g -fPIC -fvisibility=hidden -fno-omit-frame-pointer -fsanitize=address,bounds
  -fno-sanitize-recover=bounds -DLSSL_ON_HOST -DLSSL_WITH_CUDA -DTORCH_TARGET_VERSION=0x020a000000000000
  -Isupport/on_host -I. -isystem "$torch/include" -Wall -Wno-unknown-pragmas)
newest=$(ls -t kernels.h ./*/*.h ./*/*.cuh support/on_host/*.h | head -1)

compile() {
  [[ $2 -nt $1 && $2 -nt $newest ]] || "$CXX" "${flags[@]}" -x c++ -c "$1" -o "$2"
}
running=()
for source in */*.cu */binding.cpp registration.cpp build_info.cpp support/on_host/on_host.cpp; do
  compile "$source" "$objects/${source//\//_}.o" &
  running+=($!)
  while (($(jobs -rp | wc -l) >= ${JOBS:-2})); do sleep 0.2; done
done
for job in "${running[@]}"; do wait "$job"; done

# The bindings refer to the CPU's kernels, which are never called here: empty symbols stand in for them.
{
  nm -u "$objects"/*.o | awk '/_ZN4lssl3cpu/ && !seen[$2]++ { print ".globl " $2 "\n" $2 ":" }'
  printf '.byte 0\n.section .note.GNU-stack,"",%%progbits\n'
} >"$objects/unused.s"
"$CXX" -shared -fsanitize=address,bounds "$objects"/*.o "$objects/unused.s" -L"$torch/lib" -ltorch_cpu -ltorch -lc10 \
  -o "$objects/_ops.so"

cd ..
# Leaks in Python itself, and allocations by libraries loaded earlier, are of no interest here.
export ASAN_OPTIONS=detect_leaks=0,detect_stack_use_after_return=0,alloc_dealloc_mismatch=0
export LSSL_LIBRARY=$objects/_ops.so OMP_NUM_THREADS=1 PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
preload="$("$CXX" -print-file-name=libasan.so) $("$CXX" -print-file-name=libstdc++.so.6)"
if (($# > 0)); then
  LD_PRELOAD=$preload exec "$PYTHON" -m pytest -q "$@"
fi
for capability in 9 8; do # with clusters, and in two passes
  LD_PRELOAD=$preload LSSL_ON_HOST_CAPABILITY=$capability "$PYTHON" benchmarks/every_operator.py --device cpu
done
