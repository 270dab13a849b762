"""The training loop of networks that learn from labels: the face parser and the classifiers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lssl.errors import LsslError


@dataclass
class Fitted:
    """Iterations done; whether Ctrl-C ended them; (iteration, mean loss since the last pair) pairs."""

    iterations: int
    interrupted: bool
    log: list[tuple[int, float]]


def fit(
    what: str,
    optimizer: torch.optim.Optimizer,
    loss_of_a_batch: Callable[[], Tensor],
    *,
    iterations: int,
    learning_rate: float,
    warm_up: int,
    log_every: int,
    progress: bool = False,
    on_log: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Minimizes a loss; the rate rises over `warm_up` iterations (at most a tenth) and falls to 0 along half a cosine.

    what: the network's name on the progress bar and in errors. loss_of_a_batch: draws the next batch and returns its loss.
    on_log: called with (iteration, mean loss) every `log_every` iterations.
    Ctrl-C stops early. Raises LsslError if the loss is not finite.
    """
    from lssl.progress import tqdm

    fitted = Fitted(0, False, [])
    sums: Tensor | float = 0.0
    since = 0
    with tqdm(range(iterations), desc=what, unit="it", disable=not progress, leave=False) as bar:
        try:
            for iteration in bar:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate * _rate(iteration, iterations, warm_up)
                loss = loss_of_a_batch()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                sums, since = sums + loss.detach(), since + 1
                fitted.iterations = iteration + 1
                if fitted.iterations % log_every == 0 or fitted.iterations == iterations:
                    value = float(sums) / since
                    if not math.isfinite(value):
                        raise LsslError(
                            f"the {what}'s loss is {value} at iteration {fitted.iterations}; lower the learning rate"
                        )
                    sums, since = 0.0, 0
                    fitted.log.append((fitted.iterations, round(value, 5)))
                    bar.set_postfix(loss=f"{value:.3f}", refresh=False)
                    if on_log is not None:
                        on_log(*fitted.log[-1])
        except KeyboardInterrupt:
            fitted.interrupted = True
    return fitted


def _rate(iteration: int, iterations: int, warm_up: int) -> float:
    rising = min(1.0, (iteration + 1) / max(1, min(warm_up, iterations // 10)))
    return rising * 0.5 * (1 + math.cos(math.pi * iteration / iterations))
