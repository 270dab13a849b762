"""The paper's losses, eq. 1 to 7, one small function a term.

All take and return float tensors; every term is a scalar, a mean over the batch (and over elements for l1 terms, as
in the authors' code). Images and side images are (N, C, H, W) in [-1, 1].
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lssl.data.schema import AttributeSchema
from lssl.models.discriminator import CriticOutput, Discriminator
from lssl.ops import features_and_penalty

#: Every logged term, in the order of Fig. 11: the critic's four, then the generator's.
CRITIC_TERMS = ("d_real", "d_fake", "d_cls", "d_gp")
GENERATOR_TERMS = ("g_adv", "g_cls", "g_bi", "g_latent", "g_id", "g_front", "g_parse")


def critic_adversarial(real_score: Tensor, fake_score: Tensor, kind: str = "wasserstein") -> Tensor:
    """What the critic minimizes: -L_GAN of eq. 1 without its penalty, E[D(fake)] - E[D(real)].

    `kind="logistic"` is beyond the paper: E[softplus(D(fake))] + E[softplus(-D(real))] (Goodfellow et al. 2014).
    """
    if kind == "logistic":
        return F.softplus(fake_score).mean() + F.softplus(-real_score).mean()
    return fake_score.mean() - real_score.mean()


def critic_and_penalty(
    critic: Discriminator,
    samples: Tensor,
    real: Tensor,
    fake: Tensor,
    alpha: Tensor,
    kind: str = "wasserstein",
) -> tuple[CriticOutput, Tensor]:
    """D(samples), and L_gp of eq. 1: (|grad D_src| - 1)^2 at alpha real + (1 - alpha) fake, alpha (N,) in [0, 1].

    `kind="logistic"` is beyond the paper: |grad D_src|^2 at the real images, R1 of Mescheder et al. 2018.
    """
    if kind == "logistic":
        fake, target = real, 0.0
    else:
        target = 1.0
    features, penalty = features_and_penalty(
        critic.trunk, critic.realism_head, samples, real, fake, target=target, alpha=alpha
    )
    return critic.heads(features), penalty


def generator_adversarial(fake_score: Tensor, kind: str = "wasserstein") -> Tensor:
    """L_GAN of eq. 1 as the generator sees it: -E[D(fake)]; `kind="logistic"`: E[softplus(-D(fake))]."""
    return F.softplus(-fake_score).mean() if kind == "logistic" else -fake_score.mean()


def attribute_classification(logits: Tensor, y: Tensor, schema: AttributeSchema, kind: str = "bce") -> Tensor:
    """L_cls of eq. 2 (real images, their own y) and eq. 3 (fakes, the target y).

    `kind="bce"` sums binary cross-entropy over the attributes (paper); "softmax" sums cross-entropy over the
    categorical groups, with binary cross-entropy for binary ones (code). Logits and y are (N, A).
    """
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(logits, y, reduction="none").sum(1).mean()
    terms = []
    for group in schema.groups:
        part = schema.slices[group.name]
        if group.binary:
            terms.append(F.binary_cross_entropy_with_logits(logits[:, part], y[:, part]))
        else:
            terms.append(F.cross_entropy(logits[:, part], y[:, part]))
    return torch.stack(terms).sum()


def chance_classification(y: Tensor, schema: AttributeSchema, kind: str = "bce") -> float:
    """`attribute_classification` of one who knows of faces with attributes y (N, A) only how often each value occurs."""
    share = y.double().mean(0)
    of_values = -torch.xlogy(share, share)
    of_both = of_values - torch.xlogy(1 - share, 1 - share)
    alone = torch.zeros(len(share), dtype=torch.bool)
    for group in schema.groups:
        alone[schema.slices[group.name]] = kind == "bce" or group.binary
    return float(torch.where(alone.to(y.device), of_both, of_values).sum())


def projection(logits: Tensor, y: Tensor, schema: AttributeSchema) -> Tensor:
    """<y, D_cls> of a critic that judges faces as ones of attributes y (Miyato & Koyama 2018), (N, 1, 1, 1).

    Logits and y are (N, A); y is centred in each group, so that logits that are all alike count for nothing.
    """
    parts = []
    for group in schema.groups:
        part = y[:, schema.slices[group.name]]
        parts.append(2 * part - 1 if group.binary else part - part.mean(1, keepdim=True))
    return (torch.cat(parts, 1) * logits).sum(1)[:, None, None, None]


def identity(fake: Tensor, image: Tensor) -> Tensor:
    """L_id of eq. 4: |x' - x|_1."""
    return F.l1_loss(fake, image)


def frontal(fake: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """|x' - t|_1 where `weight` (N, 1, H, W) in [0, 1] says that t is known; beyond the paper, which learns unpaired."""
    return ((fake - target).abs() * weight).sum() / (fake.shape[1] * weight.sum()).clamp(min=1.0)


def parsing(fake_logits: Tensor, image_logits: Tensor) -> Tensor:
    """L_p of eq. 5: pixel-wise softmax loss of P(x') against P(x), less the entropy of P(x), so that equal maps cost 0.

    The entropy does not depend on the generator, so gradients are those of the plain softmax loss.
    Logits are (N, classes, H, W).
    """
    target = image_logits.softmax(1)
    log_ratio = image_logits.log_softmax(1) - fake_logits.log_softmax(1)
    return (target * log_ratio).sum(1).mean()


def bidirectional(
    image: Tensor, image_back: Tensor, side: Tensor | None = None, side_back: Tensor | None = None
) -> Tensor:
    """First expectation of L_bi, eq. 6: |x - x^|_1 + |s - s^|_1."""
    loss = F.l1_loss(image_back, image)
    if side is not None and side_back is not None:
        loss = loss + F.l1_loss(side_back, side)
    return loss


def latent_bidirectional(latent: Tensor, latent_back: Tensor) -> Tensor:
    """Second expectation of L_bi, eq. 6: |Genc(x, s) - Genc(x', s')|_1."""
    return F.l1_loss(latent_back, latent)
