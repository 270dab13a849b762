// How this library was built and which SIMD level it uses on this machine: one C function, without any Python symbol.
#include <string>

#include "support/simd_level.h"

namespace {

const char* simd() {
#if defined(__x86_64__)
  constexpr const char* names[] = {"sse2", "avx2", "avx512"};
  return names[lssl::cpu::simd_level()];
#elif defined(__aarch64__)
  return "neon";
#else
  return "generic";
#endif
}

#if defined(LSSL_WITH_CUDA) && !defined(LSSL_ON_HOST)
constexpr const char* kCuda = "true";
constexpr const char* kArchitectures = LSSL_CUDA_ARCHS;
#else
constexpr const char* kCuda = "false";
constexpr const char* kArchitectures = "";
#endif

}  // namespace

// A JSON object, valid as long as the library is loaded.
extern "C" __attribute__((visibility("default"))) const char* lssl_build_info() {
  static const std::string info = std::string("{\"compiler\": \"" __VERSION__ "\", \"simd\": \"") + simd() +
                                  "\", \"cuda\": " + kCuda + ", \"cuda_architectures\": \"" + kArchitectures + "\"}";
  return info.c_str();
}
