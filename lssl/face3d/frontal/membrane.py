"""Values stretched over the holes of a picture like a membrane (the discrete Laplace equation)."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor


class Membrane:
    """Fills holes (H, W) of pictures from the known pixels (H, W) around them; factorised once.

    A hole's pixel becomes the mean of its neighbours that are known or in the hole. A hole without known neighbours
    becomes 0.
    """

    def __init__(self, holes: NDArray[np.bool_], known: NDArray[np.bool_]) -> None:
        self._places = np.flatnonzero(holes)
        count, (height, width) = len(self._places), holes.shape
        number = np.full(holes.size, -1)
        number[self._places] = np.arange(count)
        row, column = np.divmod(self._places, width)
        degree = np.full(count, 1e-9)
        inner: list[NDArray[np.int_]] = []
        outer: list[NDArray[np.int_]] = []
        usable = (known & ~holes).ravel()
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            y, x = row + down, column + right
            own = np.flatnonzero((y >= 0) & (y < height) & (x >= 0) & (x < width))
            neighbour = y[own] * width + x[own]
            hole = number[neighbour] >= 0
            inner.append(np.stack([own[hole], number[neighbour[hole]]]))
            edge = ~hole & usable[neighbour]
            outer.append(np.stack([own[edge], neighbour[edge]]))
            degree += np.bincount(own[hole | edge], minlength=count)
        a, b = np.concatenate(inner, 1), np.concatenate(outer, 1)
        self._from_outside = sparse.coo_matrix((np.ones(b.shape[1]), (b[0], b[1])), (count, holes.size)).tocsr()
        links = sparse.coo_matrix((np.ones(a.shape[1]), (a[0], a[1])), (count, count))
        self._solver = splu((sparse.diags(degree) - links).tocsc()) if count else None

    def fill(self, values: Tensor) -> Tensor:
        """Values (H, W, C) with the holes filled."""
        if self._solver is None:
            return values
        flat = values.reshape(-1, values.shape[-1]).clone()
        right = self._from_outside @ flat.double().numpy()
        flat[torch.from_numpy(self._places)] = torch.from_numpy(self._solver.solve(right)).to(flat.dtype)
        return flat.reshape(values.shape)
