// lssl._C: says how the native operators were built, and loads them into the process.
#include <dlfcn.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace {

std::string simd_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return "avx512";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
  return "sse2";
#elif defined(__aarch64__)
  return "neon";
#else
  return "generic";
#endif
}

py::dict build_info() {
  py::dict info;
  info["compiler"] = __VERSION__;
  info["simd"] = simd_level();
#ifdef LSSL_WITH_CUDA
  info["cuda"] = true;
  info["cuda_architectures"] = LSSL_CUDA_ARCHS;
#else
  info["cuda"] = false;
  info["cuda_architectures"] = "";
#endif
  return info;
}

// Not torch.ops.load_library: dlopen's own words name the missing symbol, and RTLD_NOW finds it at once.
void load(const std::string& path) {
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) throw std::runtime_error(dlerror());
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "How lssl's native operators were built, and their loader.";
  m.def("build_info", &build_info, "Compiler, SIMD level in use, CUDA architectures.");
  m.def("load", &load, py::arg("path"), "Loads the operator library at `path` into this process.");
}
