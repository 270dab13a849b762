// Opens the operator namespace; each op's binding file adds its schema with STABLE_TORCH_LIBRARY_FRAGMENT.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(lssl, m) { (void)m; }
