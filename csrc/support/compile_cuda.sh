#!/usr/bin/env bash
# Compiles every kernel with nvcc alone (no PyTorch, no GPU) and prints the on-chip resources that each one takes.
# Fails if a kernel spills registers, or keeps an array in local memory (stack). ARCHITECTURES and JOBS may be set; they
# default to "80 90 100" and 2. With LSSL_CUDA_DEBUG=1 the kernels assert their indices and may use local memory.
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra architectures <<<"${ARCHITECTURES:-80 90 100}"
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT

compile() {
  local source=$1 architecture=$2
  local report="$3/${source//\//_}.$architecture"
  nvcc -std=c++20 -O3 --expt-relaxed-constexpr -I. ${LSSL_CUDA_DEBUG:+-DLSSL_CUDA_DEBUG} -gencode="arch=compute_$architecture,code=sm_$architecture" \
    -Xptxas -v -Werror all-warnings -c "$source" -o "$report.o" >"$report.log" 2>&1 || {
    echo "$source does not compile for sm_$architecture:" >&2
    cat "$report.log" >&2
    return 255
  }
}
export -f compile
for source in */*.cu; do
  for architecture in "${architectures[@]}"; do echo "$source $architecture $output"; done
done | xargs -P "${JOBS:-2}" -L 1 bash -c 'compile "$@"' _

printf '%-70s %6s %9s %6s %6s %6s\n' 'kernel (dynamic shared memory not counted)' arch registers spills stack shared
cat "$output"/*.log | c++filt | awk '
  /Compiling entry function/ {
    split($0, quoted, "\047"); kernel = quoted[2]; architecture = quoted[4]
    sub(/^void /, "", kernel); gsub(/lssl::cuda::|\(anonymous namespace\)::/, "", kernel)
    gsub(/\(Reduction\)1/, "sum", kernel); gsub(/\(Reduction\)2/, "max", kernel)
    gsub(/\(Reduction\)3/, "owner", kernel)
    gsub(/\(Pass\)0/, "fused", kernel); gsub(/\(Pass\)1/, "partial", kernel); gsub(/\(Pass\)2/, "apply", kernel)
    sub(/\(.*/, "", kernel)
  }
  /spill stores/ {
    match($0, /[0-9]+ bytes stack/); stack = substr($0, RSTART) + 0
    match($0, /[0-9]+ bytes spill stores/); spills = substr($0, RSTART) + 0
  }
  / Used / {
    match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5) + 0
    shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART) + 0 : 0
    printf "%-70s %6s %9d %6d %6d %6d\n", kernel, architecture, registers, spills, stack, shared | "sort"
    kernels++; bad += spills + stack > 0
  }
  END {
    close("sort")
    printf "%d kernels, of which %d use local memory\n", kernels, bad
    exit bad > 0 && ENVIRON["LSSL_CUDA_DEBUG"] == ""
  }'
