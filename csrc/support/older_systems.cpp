// Lets a library that was built on a new Linux run on one with glibc 2.28 and its libstdc++ (manylinux_2_28), by
// defining here what that system lacks. `auditwheel show` lists what a build requires.
#include <sstream>

#if defined(__GLIBC__) && defined(__GLIBCXX__)

// libstdc++'s reference counts read this flag of glibc 2.32; "not single-threaded" is always right.
extern "C" __attribute__((visibility("hidden"))) char __libc_single_threaded = 0;

// Members of string streams that libstdc++ 8 does not export. STD_TORCH_CHECK formats its messages with them, and the
// linker would otherwise bind them to copies in libc10, which a later torch need not have.
namespace std {
template basic_stringstream<char>::basic_stringstream();
template basic_ostringstream<char>::basic_ostringstream();
#if __cplusplus >= 202002L
template string basic_stringbuf<char>::str() const&;
template string basic_stringbuf<char>::str() &&;
#endif
}  // namespace std

#endif
