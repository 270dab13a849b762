"""The terms of the losses, eq. 1 to 7 and beyond, one small function each.

All take and return float tensors; every term is a scalar, a mean over the batch (for l1 terms also over elements, as
in the authors' code). Images and side images are (N, C, H, W) in [-1, 1]. The names of a term in metrics.jsonl, on the
progress bar and in losses.png are declared once, by `term` or `declare`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lssl.data.schema import AttributeSchema
from lssl.models.discriminator import CriticOutput, Discriminator
from lssl.ops import features_and_penalty

Terms = dict[str, Tensor]
Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True)
class Term:
    """What a logged value is called: `name` in metrics.jsonl, `label` on the progress bar, `panel` in losses.png."""

    name: str
    label: str
    panel: str


#: Every term by name, in the order of Fig. 11: the critic's four, then the generator's.
TERMS: dict[str, Term] = {}


def declare(name: str, label: str, panel: str) -> str:
    """Declares a term that no function below computes, for the log, the progress bar and the figure; returns its name."""
    TERMS[name] = Term(name, label, panel)
    return name


def term(name: str, label: str, panel: str) -> Callable[[Function], Function]:
    """Decorator: `declare` for the function that computes the term."""

    def known(function: Function) -> Function:
        declare(name, label, panel)
        return function

    return known


declare("d_real", "real", "real images, -E[D(x, s)]")
declare("d_fake", "fake", "fake images, E[D(x', s')]")
declare("d_cls", "cls_r", "classification of real images")
declare("d_gp", "gp", "gradient penalty")
declare("d_part", "part_r", "critics of mouth and eyes")


def wasserstein(real_score: Tensor, fake_score: Tensor) -> Tensor:
    """What the critic minimizes, -L_GAN of eq. 1 without the penalty: E[D(fake)] - E[D(real)]."""
    return fake_score.mean() - real_score.mean()


def critic_and_penalty(
    critic: Discriminator, samples: Tensor, real: Tensor, fake: Tensor, alpha: Tensor
) -> tuple[CriticOutput, Tensor]:
    """D(samples), and L_gp of eq. 1: the mean of (|grad D_src| - 1)^2 at alpha real + (1 - alpha) fake, alpha (N,) in [0, 1].

    Both come from one joint pass, `lssl.ops.features_and_penalty`.
    """
    features, penalty = features_and_penalty(
        critic.trunk, critic.realism_head, samples, real, fake, target=1.0, alpha=alpha
    )
    return critic.heads(features), penalty


def logistic(real_score: Tensor, fake_score: Tensor) -> Tensor:
    """E[softplus(D(fake))] + E[softplus(-D(real))] (Goodfellow et al. 2014); beyond the paper."""
    return F.softplus(fake_score).mean() + F.softplus(-real_score).mean()


@term("g_adv", "adv", "generator: adversarial")
def generator_wasserstein(fake_score: Tensor) -> Tensor:
    """L_GAN of eq. 1 as the generator sees it: -E[D(fake)]."""
    return -fake_score.mean()


def generator_logistic(fake_score: Tensor) -> Tensor:
    """E[softplus(-D(fake))]; beyond the paper."""
    return F.softplus(-fake_score).mean()


@term("g_cls", "cls_f", "generator: classification of fakes")
def attribute_bce(logits: Tensor, y: Tensor) -> Tensor:
    """L_cls of eq. 2 (real images, their own y) and eq. 3 (fakes, the target y): binary cross-entropy, summed over the
    attributes. Logits and y are (N, A)."""
    return F.binary_cross_entropy_with_logits(logits, y, reduction="none").sum(1).mean()


def attribute_softmax(logits: Tensor, y: Tensor, schema: AttributeSchema) -> Tensor:
    """L_cls as in the authors' code: cross-entropy over each categorical group, binary cross-entropy for binary ones,
    summed over the groups. Logits and y are (N, A)."""
    terms = []
    for group in schema.groups:
        part = schema.slices[group.name]
        if group.binary:
            terms.append(F.binary_cross_entropy_with_logits(logits[:, part], y[:, part]))
        else:
            terms.append(F.cross_entropy(logits[:, part], y[:, part]))
    return torch.stack(terms).sum()


def softmax_at_chance(y: Tensor, schema: AttributeSchema) -> float:
    """The value of `attribute_softmax` for a guess that knows only how often each value occurs among y (N, A)."""
    share = y.double().mean(0)
    of_values = -torch.xlogy(share, share)
    of_both = of_values - torch.xlogy(1 - share, 1 - share)
    binary = torch.zeros(len(share), dtype=torch.bool)
    for group in schema.groups:
        binary[schema.slices[group.name]] = group.binary
    return float(torch.where(binary.to(y.device), of_both, of_values).sum())


def projection(logits: Tensor, y: Tensor, schema: AttributeSchema) -> Tensor:
    """<y, D_cls> (N, 1, 1, 1) of a critic that judges whether faces are real given y (projection, Miyato & Koyama 2018).

    Logits and y are (N, A); y is centred in each group, so that equal logits add nothing.
    """
    parts = []
    for group in schema.groups:
        part = y[:, schema.slices[group.name]]
        parts.append(2 * part - 1 if group.binary else part - part.mean(1, keepdim=True))
    return (torch.cat(parts, 1) * logits).sum(1)[:, None, None, None]


@term("g_bi", "bi", "generator: bidirectional (image, latent)")
def bidirectional(
    image: Tensor, image_back: Tensor, side: Tensor | None = None, side_back: Tensor | None = None
) -> Tensor:
    """First expectation of L_bi, eq. 6: |x - x^|_1 + |s - s^|_1."""
    loss = F.l1_loss(image_back, image)
    if side is not None and side_back is not None:
        loss = loss + F.l1_loss(side_back, side)
    return loss


@term("g_latent", "lat", "generator: bidirectional (image, latent)")
def latent_bidirectional(latent: Tensor, latent_back: Tensor) -> Tensor:
    """Second expectation of L_bi, eq. 6: |Genc(x, s) - Genc(x', s')|_1."""
    return F.l1_loss(latent_back, latent)


@term("g_id", "id", "generator: identity, parsing, frontal")
def identity(fake: Tensor, image: Tensor) -> Tensor:
    """L_id of eq. 4: |x' - x|_1."""
    return F.l1_loss(fake, image)


@term("g_parse", "parse", "generator: identity, parsing, frontal")
def parsing(fake_logits: Tensor, image_logits: Tensor) -> Tensor:
    """L_p of eq. 5: pixel-wise softmax loss of P(x') against P(x), minus the entropy of P(x), so that equal maps cost 0.

    The entropy does not depend on the generator, so gradients are those of the plain softmax loss.
    Logits are (N, classes, H, W).
    """
    target = image_logits.softmax(1)
    log_ratio = image_logits.log_softmax(1) - fake_logits.log_softmax(1)
    return (target * log_ratio).sum(1).mean()


@term("g_front", "front", "generator: identity, parsing, frontal")
def frontal(fake: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """|x' - t|_1, weighted by how far t is known, `weight` (N, 1, H, W) in [0, 1]; the paper trains without pairs."""
    return ((fake - target).abs() * weight).sum() / (fake.shape[1] * weight.sum()).clamp(min=1.0)


declare("g_part", "part", "critics of mouth and eyes")
declare("g_move", "move", "generator: landmarks missed")
declare("g_pair", "pair", "generator: own picture, own attributes")
declare("g_own", "own", "generator: own picture, own attributes")
declare("d_wrong", "wrong", "fake images, E[D(x', s')]")  # IcGAN: real images with attributes that are not theirs
declare("d_reference", "ref_f", "fake images with a reference's style, D(x')")
declare("g_style", "style", "style of the changed face, |E(x') - s|")
declare("g_diversity", "div", "difference between two styles")
declare("g_reference", "ref", "adversarial, with a reference's style")
declare("e_z", "z", "encoders")
declare("e_y", "y", "encoders")


def mean_where(chosen: Tensor, values: Tensor, share: float) -> Tensor:
    """The mean of values (N, ...) over the samples for which chosen (N,) is 1, divided by the expected `share` of such
    samples, not the batch's own: so several processes with a part of the batch each have the same loss as one process."""
    return (values.flatten(1).mean(1) * chosen).mean() / share
