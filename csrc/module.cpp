// lssl._C: loads the native operators into the process. A source build has it; a wheel for every Python does without.
#include <dlfcn.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace {

// RTLD_NOW finds a missing symbol at once, and dlerror's message names it.
void load(const std::string& path) {
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) throw std::runtime_error(dlerror());
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "The loader of lssl's native operators.";
  m.def("load", &load, py::arg("path"), "Loads the operator library at `path` into this process.");
}
