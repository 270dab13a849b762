"""Finds out by inspection, never by guessing, whether the analytic gradient penalty is right for a critic.

A critic is accepted when its realism output is a chain of layers that are linear in their input or (leaky) ReLUs:
an `nn.Sequential` (nested to any depth), or a module with a method `realism_layers()` that returns the modules which,
applied one after the other to the images, give the realism output that `forward` returns (first, where it returns
several). Anything with hooks, parametrisations, overridden methods or layers not listed here is refused with a reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.ops.gradient_penalty import matrix_convolution

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_METHODS = ("forward", "_conv_forward", "_call_impl", "__call__")


class NotAnalytic(Exception):
    """A critic is not known to be a chain of supported layers; the message says why."""


# The layers are not frozen: torch.compile of PyTorch 2.10 cannot pass a frozen dataclass to an autograd function.
@dataclass
class Convolution:
    """A (transposed) convolution of any dimension, padded with zeros."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self._by_matrix(x, weight):
            return matrix_convolution.convolve(self._window(), x, weight, bias)
        return torch.convolution(
            x,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
        )

    def input_gradient(self, gradient: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        """`x`: any tensor of the input's shape and strides; its values are not read."""
        if self._by_matrix(x, weight):
            return matrix_convolution.input_gradient(self._window(), gradient, weight, x.shape)
        return self._backward(gradient, x, weight, [True, False, False])[0]

    def weight_gradient(self, gradient: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        if self._by_matrix(x, weight):
            return matrix_convolution.weight_gradient(self._window(), gradient, weight, x)
        return self._backward(gradient, x, weight, [False, True, False])[1]

    def _window(self) -> matrix_convolution.Window:
        return matrix_convolution.Window(self.stride, self.padding, self.dilation)

    def _by_matrix(self, x: Tensor, weight: Tensor) -> bool:
        plain = not self.transposed and self.groups == 1
        return plain and matrix_convolution.pays(self._window(), x, weight)

    def _backward(self, gradient: Tensor, x: Tensor, weight: Tensor, mask: list[bool]) -> tuple[Tensor, ...]:
        return torch.ops.aten.convolution_backward(
            gradient,
            x,
            weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
            mask,
        )


@dataclass
class Dense:
    """A linear layer over the last dimension."""

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)

    def input_gradient(self, gradient: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        return gradient @ weight

    def weight_gradient(self, gradient: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        return gradient.reshape(-1, weight.shape[0]).T @ x.reshape(-1, weight.shape[1])


@dataclass
class Rectifier:
    """ReLU (slope 0) or leaky ReLU."""

    negative_slope: float


@dataclass
class AveragePool:
    """Average pooling over windows of `kernel_size`, as `nn.AvgPool2d`."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil_mode: bool
    count_include_pad: bool
    divisor_override: int | None

    def __call__(self, x: Tensor) -> Tensor:
        return torch.ops.aten.avg_pool2d(x, *self._arguments())

    def input_gradient(self, gradient: Tensor, x: Tensor) -> Tensor:
        return torch.ops.aten.avg_pool2d_backward(gradient, x, *self._arguments())

    def _arguments(self) -> tuple:
        return (
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


@dataclass
class AdaptivePool:
    """`nn.AdaptiveAvgPool2d` to a fixed size (None: the input's)."""

    output_size: tuple[int | None, int | None]

    def __call__(self, x: Tensor) -> Tensor:
        size = [x.shape[i - 2] if side is None else side for i, side in enumerate(self.output_size)]
        return torch.ops.aten._adaptive_avg_pool2d(x, size)

    def input_gradient(self, gradient: Tensor, x: Tensor) -> Tensor:
        return torch.ops.aten._adaptive_avg_pool2d_backward(gradient, x)


@dataclass
class Flatten:
    start_dim: int
    end_dim: int

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(self.start_dim, self.end_dim)

    def input_gradient(self, gradient: Tensor, x: Tensor) -> Tensor:
        return gradient.reshape(x.shape)


Weighted = Convolution | Dense
Layer = Weighted | Rectifier | AveragePool | AdaptivePool | Flatten


@dataclass
class Chain:
    """A critic's realism path: its layers, and the weight and bias of each (None where a layer has none)."""

    layers: tuple[Layer, ...]
    weights: tuple[Any, ...]
    biases: tuple[Any, ...]


def realism_chain(critic: object, x: Tensor, autocast: torch.dtype | None) -> Chain:
    """The critic's realism path for images like `x`; raises NotAnalytic with the reason.

    `autocast`: the dtype that autocast gives convolutions and linear layers here, None where it is off.
    """
    ndim = x.ndim
    if not isinstance(critic, nn.Module):
        raise NotAnalytic(f"the critic is a {type(critic).__name__}, not an nn.Module whose layers can be inspected")
    if torch.nn.modules.module._has_any_global_hook():
        raise NotAnalytic("a global module hook is registered")
    layers: list[Layer] = []
    weights: list[Any] = []
    biases: list[Any] = []
    for module, name in _flat(critic, ""):
        layer = _layer(module, name, ndim)
        if layer is None:
            continue
        weighted = isinstance(layer, Convolution | Dense)
        layers.append(layer)
        for tensors, attribute in ((weights, "weight"), (biases, "bias")):
            present = weighted and getattr(module, attribute) is not None
            tensors.append(_tensor(module, attribute, name, x.dtype, autocast) if present else None)
        if isinstance(layer, Flatten):
            ndim = _flattened(layer, ndim)
    return Chain(tuple(layers), tuple(weights), tuple(biases))


def _flat(module: nn.Module, name: str) -> list[tuple[nn.Module, str]]:
    """The leaf modules of a critic in order of application, with names for messages."""
    _refuse_changed(module, name)
    if is_compiled(module):
        return _flat(module._orig_mod, name)  # type: ignore[arg-type]
    if type(module) is nn.Sequential:
        children: Sequence[tuple[str, nn.Module]] = list(module._modules.items())
    elif hasattr(type(module), "realism_layers"):
        # In a subclass that overrides forward but inherits realism_layers, the latter no longer describes the former.
        if not issubclass(_definer(type(module), "realism_layers"), _definer(type(module), "forward")):
            raise NotAnalytic(f"{_named(module, name)} overrides forward but not realism_layers")
        described = module.realism_layers()  # type: ignore[operator]
        children = [(f"realism_layers[{i}]", child) for i, child in enumerate(described)]
    else:
        return [(module, name)]
    leaves: list[tuple[nn.Module, str]] = []
    for child_name, child in children:
        leaves.extend(_flat(child, f"{name}.{child_name}" if name else child_name))
    return leaves


def is_compiled(module: object) -> bool:
    """True for what `torch.compile(module)` returns; goes by the name, as torch._dynamo takes seconds to import."""
    return type(module).__module__ == "torch._dynamo.eval_frame" and type(module).__name__ == "OptimizedModule"


def _definer(cls: type, method: str) -> type:
    return next(base for base in cls.__mro__ if method in vars(base))


def _refuse_changed(module: nn.Module, name: str) -> None:
    for hooks in _HOOKS:
        if getattr(module, hooks):
            raise NotAnalytic(f"{_named(module, name)} has hooks ({hooks})")
    if is_compiled(module):
        return
    if type(module).__call__ is not nn.Module.__call__ or any(method in vars(module) for method in _METHODS):
        raise NotAnalytic(f"{_named(module, name)} has a replaced method")


def _layer(module: Any, name: str, ndim: int) -> Layer | None:
    """The layer that a leaf module stands for, or None for an identity."""
    kind = type(module)
    if kind is nn.Identity or (kind in _DROPOUTS and not (module.training and module.p)):
        return None
    if kind is nn.ReLU:
        return Rectifier(0.0)
    if kind is nn.LeakyReLU:
        return Rectifier(float(module.negative_slope))
    if kind is nn.Linear:
        return Dense()
    if kind in _CONVOLUTIONS or kind in _TRANSPOSED:
        return _convolution(module, name, ndim)
    if kind is nn.Flatten:
        if module.start_dim % ndim == 0:
            raise NotAnalytic(f"{_named(module, name)} flattens a batch's samples together")
        return Flatten(module.start_dim, module.end_dim)
    if kind is nn.AvgPool2d or kind is nn.AdaptiveAvgPool2d:
        if ndim != 4:
            raise NotAnalytic(f"{_named(module, name)} gets {ndim}-dimensional input; 4 is supported")
        return _average_pool(module) if kind is nn.AvgPool2d else AdaptivePool(_pair(module.output_size))
    raise NotAnalytic(f"{_named(module, name)} is not a layer whose second derivative is known to vanish")


def _convolution(module: Any, name: str, ndim: int) -> Convolution:
    spatial = len(module.kernel_size)
    if ndim != spatial + 2:
        raise NotAnalytic(f"{_named(module, name)} gets {ndim}-dimensional input; {spatial + 2} is supported")
    if module.padding_mode != "zeros":
        raise NotAnalytic(f"{_named(module, name)} has padding_mode {module.padding_mode!r}")
    padding = module.padding
    if padding == "valid":
        padding = (0,) * spatial
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        if any(side % 2 for side in total):
            raise NotAnalytic(f"{_named(module, name)} pads unevenly (padding 'same', even kernel)")
        padding = tuple(side // 2 for side in total)
    return Convolution(
        tuple(module.stride),
        tuple(padding),
        tuple(module.dilation),
        type(module) in _TRANSPOSED,
        tuple(module.output_padding),
        module.groups,
    )


def _average_pool(module: Any) -> AveragePool:
    kernel = _pair(module.kernel_size)
    stride = kernel if module.stride is None else _pair(module.stride)
    return AveragePool(
        kernel,
        stride,
        _pair(module.padding),
        module.ceil_mode,
        module.count_include_pad,
        module.divisor_override,
    )


def _pair(value: int | tuple) -> tuple:
    return (value, value) if isinstance(value, int) or value is None else tuple(value)


def _tensor(module: nn.Module, attribute: str, name: str, dtype: torch.dtype, autocast: torch.dtype | None) -> Tensor:
    tensor = module._parameters.get(attribute)
    if tensor is None or type(tensor) not in (nn.Parameter, Tensor):
        raise NotAnalytic(f"{_named(module, name)}.{attribute} is not an ordinary parameter")
    castable = autocast is not None and tensor.dtype in (torch.float32, torch.bfloat16, torch.float16)
    if tensor.dtype != dtype and not castable:
        raise NotAnalytic(f"{_named(module, name)}.{attribute} is {tensor.dtype} but the images are {dtype}")
    return tensor


def _flattened(layer: Flatten, ndim: int) -> int:
    start, end = layer.start_dim % ndim, layer.end_dim % ndim
    return ndim - (end - start)


def _named(module: nn.Module, name: str) -> str:
    return f"{name or 'the critic'} ({type(module).__name__})"


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The dtype that autocast gives convolutions and linear layers here, None where it leaves them alone."""
    if x.dtype == torch.float64 or not torch.is_autocast_enabled(x.device.type):
        return None
    return torch.get_autocast_dtype(x.device.type)


def with_strides(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """`x` laid out in memory with `strides`, those of the slopes that it is multiplied by."""
    if x.stride() == strides:
        return x
    return torch.empty_strided(x.shape, strides, dtype=x.dtype, device=x.device).copy_(x)
