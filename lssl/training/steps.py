"""One critic update and one generator update, as the paper's section 3.1 writes them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lssl.data.schema import AttributeSchema
from lssl.models import Discriminator, FaceParser, Generator
from lssl.ops import gradient_penalty
from lssl.training import losses
from lssl.training.config import LossConfig

Terms = dict[str, Tensor]


@dataclass
class Networks:
    """G, D and the frozen P (None: no parsing loss).

    `autocast` is the dtype generator and parser compute in. `conditional`: D_src judges a pair as one of attributes y
    (beyond the paper): D_src(x, s) + <y, D_cls(x)>, the projection of Miyato & Koyama 2018. D_cls of few photographs,
    which learns from real faces alone, is easily satisfied by tints that no one takes for a smile; here it learns from
    the fakes, too, that these are none.
    `single_image`: the critic sees x alone, never s (pose normalization, Fig. 3b).
    """

    generator: Generator
    critic: Discriminator
    parser: FaceParser | None = None
    autocast: torch.dtype | None = None
    conditional: bool = False
    single_image: bool = False

    def compute(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None)

    def seen(self, image: Tensor, side: Tensor | None) -> Tensor:
        """What D_src sees, float32: (x, s), or x alone without side images and for a critic of single images."""
        parts = [image.float()] if side is None or self.single_image else [image.float(), side.float()]
        return torch.cat(parts, 1)

    def classified(self, image: Tensor, side: Tensor | None, config: LossConfig, noise: Tensor | None = None) -> Tensor:
        """What D_cls sees: the pair, or the image beside a blank side image.

        Blank, so that a generator cannot satisfy the classifier by its side image alone, and grey, so that it cannot by
        tints, as it does on few photographs. A classifier that looks through noise (N, 1, H, W) has gradients that move
        what people see (Cohen et al. 2019; Kaur et al. 2019), not what only it sees.
        """
        if config.classify == "luminance":
            weights = image.new_tensor([0.299, 0.587, 0.114])
            image = (image * weights[:, None, None]).sum(1, keepdim=True).expand_as(image)
        if noise is not None:
            image = image + noise
        if side is not None and config.classify != "pair":
            side = torch.full_like(side, -1.0)
        return self.seen(image, side)

    def separate_classification(self, config: LossConfig) -> bool:
        """Whether D_cls sees something else than D_src, so that it needs a pass of its own."""
        pairs = self.generator.side_channels > 0 and not self.single_image
        return (
            self.conditional
            or bool(config.classifier_noise)
            or config.classify == "luminance"
            or (config.classify == "image" and pairs)
        )


@dataclass
class StepBatch:
    """What one update sees.

    `image`, `side`: x and s, (N, 3, H, W) and (N, S, H, W), in [-1, 1]; `side` is None without side images.
    `y_source`: the attributes y' of the real faces; `y`: random targets, (N, A) both. `alpha` (N,): mixing weights
    of the gradient penalty. `noise` (N, 1, H, W): what D_cls looks through, None: nothing.

    Pose normalization, where x is simulated: `real` are the faces that D_src takes as real, `y_real` their attributes
    (None: not known, D_cls then learns from x); `given` is what the generator is told where that is not y; `target`
    (N, 3, H, W), where x' should come to lie, and its weight (N, 1, H, W). `moves`: the small moves of the faces.
    """

    image: Tensor
    side: Tensor | None
    y_source: Tensor
    y: Tensor
    alpha: Tensor
    real: Tensor | None = None
    y_real: Tensor | None = None
    given: Tensor | None = None
    noise: Tensor | None = None
    moves: tuple[Tensor, Tensor] | None = None
    target: Tensor | None = None
    target_weight: Tensor | None = None

    @property
    def told(self) -> Tensor:
        return self.y if self.given is None else self.given

    @property
    def real_faces(self) -> Tensor:
        return self.image if self.real is None else self.real

    @property
    def labelled(self) -> tuple[Tensor, Tensor]:
        """The faces that D_cls learns from, and their attributes."""
        if self.real is None or self.y_real is None:
            return self.image, self.y_source
        return self.real, self.y_real


def critic_loss(
    networks: Networks, batch: StepBatch, config: LossConfig, schema: AttributeSchema
) -> tuple[Tensor, Terms]:
    """L_D = -L_GAN + lambda_cls L_cls^r (eq. 7, 1, 2)."""
    generator, critic = networks.generator, networks.critic
    with torch.no_grad(), networks.compute(batch.image.device):
        fake_image, fake_side = generator(batch.image, batch.side, batch.told)
    labelled, y_labelled = batch.labelled
    real = networks.seen(batch.real_faces, batch.side)
    fake = networks.seen(fake_image, fake_side)
    count = len(real)

    # One pass for all that the critic looks at.
    inputs = [real, fake]
    apart = networks.separate_classification(config) or labelled is not batch.real_faces
    apart = apart and bool(config.critic_classification or networks.conditional)
    if apart:
        inputs.append(networks.classified(labelled, batch.side, config, batch.noise))
    if networks.conditional:
        inputs.append(networks.classified(fake_image, fake_side, config, batch.noise))
    samples = torch.cat(inputs)
    penalty = None
    if config.penalty and networks.conditional:
        realism, attributes = critic(samples)
        penalty = conditional_penalty(networks, real, fake, batch, config, schema)
    elif config.penalty:
        (realism, attributes), penalty = losses.critic_and_penalty(
            critic, samples, real, fake, batch.alpha, config.adversarial
        )
    else:
        realism, attributes = critic(samples)
    logits = attributes[2 * count : 3 * count] if apart else attributes[:count]
    real_score, fake_score = realism[:count], realism[count : 2 * count]
    if networks.conditional:
        real_score = real_score + losses.projection(logits, y_labelled, schema)
        fake_score = fake_score + losses.projection(attributes[3 * count :], batch.y, schema)
    terms = {"d_real": -real_score.mean(), "d_fake": fake_score.mean()}
    loss = losses.critic_adversarial(real_score, fake_score, config.adversarial)
    if penalty is not None:
        terms["d_gp"] = penalty
        loss = loss + config.penalty * penalty
    if config.critic_classification:
        terms["d_cls"] = losses.attribute_classification(logits, y_labelled, schema, config.attribute_loss)
        loss = loss + config.critic_classification * terms["d_cls"]
    return loss, terms


def conditional_penalty(
    networks: Networks, real: Tensor, fake: Tensor, batch: StepBatch, config: LossConfig, schema: AttributeSchema
) -> Tensor:
    """The gradient penalty of a critic that is told y: at real faces (logistic), or between them and fakes of one y."""
    y = batch.labelled[1] if config.adversarial == "logistic" else batch.y

    def score(pair: Tensor) -> Tensor:
        image, side = pair[:, :3], pair[:, 3:] if pair.shape[1] > 3 else None
        logits = networks.critic(networks.classified(image, side, config, batch.noise)).attributes
        return networks.critic.realism(pair) + losses.projection(logits, y, schema)

    if config.adversarial == "logistic":
        return gradient_penalty(score, real, real, target=0.0, alpha=batch.alpha)
    return gradient_penalty(score, real, fake, alpha=batch.alpha)


def generator_loss(
    networks: Networks, batch: StepBatch, config: LossConfig, schema: AttributeSchema
) -> tuple[Tensor, Terms]:
    """L_G = L_GAN + lambda_bi L_bi + lambda_cls L_cls^f + lambda_id L_id + lambda_p L_p (eq. 7, 1, 3 to 6)."""
    generator, critic, parser = networks.generator, networks.critic, networks.parser
    image, side = batch.image, batch.side
    terms: Terms = {}

    with networks.compute(image.device):
        latent = generator.encode(image, side)
        fake_image, fake_side = generator.decode(latent, batch.told, image)

    realism, logits = critic(networks.seen(fake_image, fake_side))
    if networks.separate_classification(config) and (config.classification or networks.conditional):
        logits = critic(networks.classified(fake_image, fake_side, config, batch.noise)).attributes
    if networks.conditional:
        realism = realism + losses.projection(logits, batch.y, schema)
    terms["g_adv"] = losses.generator_adversarial(realism, config.adversarial)
    loss = terms["g_adv"]

    if config.classification:
        terms["g_cls"] = losses.attribute_classification(logits, batch.y, schema, config.attribute_loss)
        loss = loss + config.classification * terms["g_cls"]

    if config.bidirectional or config.latent:
        with networks.compute(image.device):
            latent_back = generator.encode(fake_image, fake_side)
        if config.latent:
            terms["g_latent"] = losses.latent_bidirectional(latent.float(), latent_back.float())
            loss = loss + config.latent * terms["g_latent"]
        if config.bidirectional:
            with networks.compute(image.device):
                image_back, side_back = generator.decode(latent_back, batch.y_source, fake_image)
            terms["g_bi"] = losses.bidirectional(
                image, image_back.float(), side, None if side_back is None else side_back.float()
            )
            loss = loss + config.bidirectional * terms["g_bi"]

    if config.identity:
        terms["g_id"] = losses.identity(fake_image.float(), image)
        loss = loss + config.identity * terms["g_id"]

    if batch.target is not None and batch.target_weight is not None:
        terms["g_front"] = losses.frontal(fake_image.float(), batch.target, batch.target_weight)
        loss = loss + config.frontal * terms["g_front"]

    if config.parsing and parser is not None:
        with networks.compute(image.device):
            with torch.no_grad():
                image_logits = parser(image)
            fake_logits = parser(fake_image)
        terms["g_parse"] = losses.parsing(fake_logits.float(), image_logits.float())
        loss = loss + config.parsing * terms["g_parse"]
    return loss, terms
