"""Builds the native operators (csrc/) through torch.utils.cpp_extension.

The operators are a plain shared library, lssl/_ops.so. It uses no Python symbols and only PyTorch's stable ABI, so one
build serves every Python and every torch from 2.10 on. LSSL_CUDA=1 forces the CUDA kernels, LSSL_CUDA=0 leaves them
out; unset, they are built when nvcc and a CUDA build of PyTorch, both of one major version, are present.
LSSL_CUDA_DEBUG=1 builds kernels that assert every index. LSSL_NATIVE=0 installs without any native code (the
references run instead). LSSL_WHEEL=1 builds for a release: stripped, without lssl._C, as a wheel for every Python
(`make wheel`).
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
# Every torch from 2.10 on loads a library built for this target (LibTorch's stable ABI).
STABLE_TARGET = "0x020a000000000000"
OPS = "lssl._ops"
RELEASE = os.environ.get("LSSL_WHEEL") == "1"


def sources(suffix: str) -> list[str]:
    """The files of the operators' folders, csrc/<op>/."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").glob(f"*/*{suffix}"))


def with_cuda() -> bool:
    import torch
    from torch.utils import cpp_extension

    can_cuda = cpp_extension.CUDA_HOME is not None and torch.version.cuda is not None
    asked = os.environ.get("LSSL_CUDA", "")
    if can_cuda and not asked and (reason := other_cuda(cpp_extension.CUDA_HOME, torch.version.cuda)):
        tell(f"lssl: built without CUDA kernels: {reason}")
        return False
    wish = {"0": False, "1": True}.get(asked, can_cuda)
    if wish and not can_cuda:
        sys.exit(
            "lssl: LSSL_CUDA=1 needs nvcc (set CUDA_HOME) and a CUDA build of PyTorch; unset it to build for the CPU."
        )
    return wish


def other_cuda(home: str, wanted: str) -> str:
    """Why this nvcc cannot build for a PyTorch built with CUDA `wanted`; empty if it can, or does not say its release.

    PyTorch refuses to build with an nvcc of another major version, which would leave the CPU without kernels, too.
    """
    try:
        said = subprocess.run([os.path.join(home, "bin", "nvcc"), "--version"], capture_output=True, text=True).stdout
    except OSError:
        return ""
    found = re.search(r"release (\d+)\.", said)
    if found is None or found[1] == wanted.partition(".")[0]:
        return ""
    return f"nvcc is of CUDA {found[1]}, PyTorch of CUDA {wanted}; for CUDA kernels install the toolkit {wanted}"


def native_extensions() -> tuple[list, dict]:
    import torch
    from torch.utils import cpp_extension

    use_cuda = with_cuda()
    defines = [("TORCH_TARGET_VERSION", STABLE_TARGET)]
    # -g0: Python's own build flags include -g, which makes the library six times as large.
    cxx_flags = ["-O3", "-g0", "-std=c++20", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=fast"]
    compile_args = {"cxx": cxx_flags}
    link_args = ["-Wl,--as-needed", *(["-Wl,--strip-all"] if RELEASE else [])] if sys.platform == "linux" else []
    files = ["csrc/registration.cpp", "csrc/build_info.cpp", *sources(".cpp")]
    extension = cpp_extension.CppExtension
    if use_cuda:
        extension = cpp_extension.CUDAExtension
        defines += [("LSSL_WITH_CUDA", "1"), ("USE_CUDA", "1")]
        compile_args["nvcc"] = ["-O3", "-std=c++20", "--expt-relaxed-constexpr"]
        if not RELEASE:
            compile_args["nvcc"].append("-lineinfo")  # lets profilers name a kernel's source lines
        if os.environ.get("LSSL_CUDA_DEBUG") == "1":
            compile_args["nvcc"].append("-DLSSL_CUDA_DEBUG")
        files += sources(".cu")
        if not os.environ.get("TORCH_CUDA_ARCH_LIST"):
            if not torch.cuda.is_available():
                os.environ["TORCH_CUDA_ARCH_LIST"] = "8.0;9.0;10.0+PTX"
            else:
                major, minor = torch.cuda.get_device_capability()
                os.environ["TORCH_CUDA_ARCH_LIST"] = f"{major}.{minor}"
        defines.append(("LSSL_CUDA_ARCHS", f'"{os.environ["TORCH_CUDA_ARCH_LIST"]}"'))

    ops = extension(
        OPS,
        sources=files,
        include_dirs=[str(ROOT / "csrc")],
        define_macros=defines,
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )
    ops.libraries = [name for name in ops.libraries if name != "torch_python"]
    commands = {"build_ext": optional_build(cpp_extension.BuildExtension)}
    if RELEASE:
        return [ops], commands
    from pybind11.setup_helpers import Pybind11Extension

    module = Pybind11Extension("lssl._C", ["csrc/module.cpp"], cxx_std=17, libraries=["dl"])
    # One build_ext serves both: BuildExtension passes plain extensions through.
    module.extra_compile_args = {"cxx": [*module.extra_compile_args]}
    return [ops, module], commands


def tell(sentence: str) -> None:
    """Prints one sentence on stderr and on the terminal itself: pip hides the output of a build that succeeds."""
    print(sentence, file=sys.stderr)
    try:
        with open("/dev/tty", "w") as terminal:
            print(sentence, file=terminal)
    except OSError:
        pass


def optional_build(base: type) -> type:
    """A build_ext that, when it fails, says so in one sentence and leaves a package that runs on the references."""

    class OptionalBuild(base):  # type: ignore[misc, valid-type]
        def get_ext_filename(self, ext_name: str) -> str:
            """lssl/_ops.so, without this Python's tag: it is not a Python module."""
            if ext_name.rpartition(".")[2] == OPS.rpartition(".")[2]:
                return os.path.join(*ext_name.split(".")) + ".so"
            return super().get_ext_filename(ext_name)

        def run(self) -> None:
            try:
                compiler = os.environ.get("CXX", "c++").split()[0]
                if shutil.which(compiler) is None:
                    raise FileNotFoundError(f"no C++ compiler: {compiler} is not on the PATH")
                super().run()
            except Exception as error:
                if RELEASE or os.environ.get("LSSL_NATIVE") == "1":
                    raise
                tell(
                    f"lssl: the native operators were not built ({error}), so the package runs on its slower PyTorch "
                    "references; install a C++20 compiler and ninja, and reinstall with -v to see the build's output."
                )
                # The library reads this, so that its warning and `lssl doctor` can repeat the reason.
                folder = ROOT if self.inplace else Path(self.build_lib)
                note = folder / "lssl" / "_build_failure.txt"
                note.parent.mkdir(parents=True, exist_ok=True)
                note.write_text(f"{error}\n")
            else:
                for folder in (ROOT, Path(self.build_lib)):
                    (folder / "lssl" / "_build_failure.txt").unlink(missing_ok=True)

    return OptionalBuild


def any_python(base: type) -> type:
    """A bdist_wheel whose wheel is for one platform and every Python 3."""

    class AnyPython(base):  # type: ignore[misc, valid-type]
        def get_tag(self) -> tuple[str, str, str]:
            return "py3", "none", super().get_tag()[2]

    return AnyPython


def main() -> None:
    extensions: list = []
    commands: dict = {}
    options: dict = {}
    if os.environ.get("LSSL_NATIVE") != "0":
        try:
            extensions, commands = native_extensions()
        except ImportError as error:
            if RELEASE:
                raise
            tell(
                f"lssl: building without native operators ({error}); install torch, ninja and pybind11 first, then "
                "use --no-build-isolation."
            )
    if RELEASE and extensions:
        from setuptools.command.bdist_wheel import bdist_wheel

        commands["bdist_wheel"] = any_python(bdist_wheel)
        if with_cuda():
            import torch

            # Wheels for several CUDA major versions are published side by side: 0.3.0+cu13.
            options["egg_info"] = {"tag_build": f"+cu{torch.version.cuda.partition('.')[0]}"}
    packages = find_packages(include=["lssl", "lssl.*"])
    setup(
        packages=[*packages, "lssl.cli"],
        package_dir={"lssl.cli": "cli"},
        package_data={
            "lssl": [
                "presets/*.toml",
                "data/frontal_faces.svm",
                "weights/*.safetensors",
                "weights/*.md",
                "inference/demo/page/*",
                "face3d/model/data/*",
                "py.typed",
            ]
        },
        ext_modules=extensions,
        cmdclass=commands,
        options=options,
    )


if __name__ == "__main__":
    main()
