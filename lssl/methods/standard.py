"""Faces of few people, at any size: what goes beyond the paper, because measurements called for it (docs/full-size.md).

- The generator (`lssl.models.moving`) moves the face, changes its light, and paints last.
- Its movement is taught by landmarks: by where they lie in the subject's own picture with the attributes asked for, if the
  data has one, else by the difference of the classes' mean shapes (`lssl.training.movement`). So a mouth that should smile
  moves before the generator finds that a mere tint can please a critic.
- There are three critics: one of the whole face, which sees it with 128 pixels a side, or 64 where pictures have fewer than
  256, so that single pixels cannot pass for an expression, and one each of mouths and eyes, in the detail that is painted. Each has a logistic
  loss with R1, weighted by the pixels that it sees, and judges whether a face is real given its attributes y:
  D_src(x) + <y, D_cls(x)> (Miyato & Koyama 2018).
- The movement can be trained alone first, by landmarks (`warm_up.movement`, as in the preset `quick`): without critics and
  paint an update takes a sixth of the time; then movement and paint by the subjects' own pictures (`warm_up.paint`, as in
  `finetune`): without critics it takes two fifths.
- D_cls is trained alone first, on batches in which every class occurs equally often, and with its own learning rate. If it
  does not begin to learn, it starts again from new weights at half that rate.
- Random moves of the faces keep the critics from memorizing few photographs.
- People differ: who has a wide mouth seems to smile. So the generator is told what a face shows, if that is known (three times
  of four); mouths become wider and narrower at random, and faces that should stay count less in the movement's loss
  (`Method._missed`).
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lssl.data.landmarks import half_sides
from lssl.errors import LsslError
from lssl.models import Discriminator
from lssl.models.moving import Edit, MovingGenerator, painter_levels
from lssl.ops import r1_penalty
from lssl.training import losses, seeds
from lssl.training.augmentation import MOUTH, MOVES, Mouths, composed, light_images, move_images, move_points, moves_of
from lssl.training.branches import Branches
from lssl.training.face_method import FaceMethod, Inputs, side_image
from lssl.training.faces import Plan, check_square, open_stream
from lssl.training.losses import Terms
from lssl.training.method import Stage, Update
from lssl.training.movement import (
    LANDMARK_DEPTH,
    LANDMARK_WEIGHTS,
    balanced_rows,
    mirrored_pose,
    movement_error,
    pose_affine,
    roughness,
    targets_of,
    way_gone,
    with_pose,
)
from lssl.training.parts import MOUTH_POINTS, PartCritics, PartCrops, in_light_of
from lssl.training.speed import autocast
from lssl.training.start import begin_with, size_to_paint_at

_LEARNT = 0.9  # share of the loss at chance below which D_cls has begun to learn
_TELLING = 100  # updates after which its loss is conclusive
_RESTARTS = 3
_TOLD = 0.75  # share of the faces of which the generator is told what they show
_STAYING = 0.25  # weight, in the movement's loss, of faces that show what is asked for and should stay
_LANDING = 0.05  # share of its learning rate to which the movement's falls
_CRITIC_SIDE = 128  # the side, in pixels, at which the critic of the whole face sees large pictures
_PAINTED = 128  # the side, in pixels, at which large pictures are painted: no run has learnt finer teeth yet
_PARTS_SIDE = 256  # the side of pictures, in pixels, at which R1 of the critics of parts has its whole weight


@dataclass(frozen=True)
class NetworkSettings:
    """The networks' depths follow from the pictures' size.

    start: a generator whose weights the run begins with: a built-in one's name, a run folder or a file; "": new weights.
    paint_size: the side in pixels at which the painter works, and up to which mouths and eyes are compared and judged; 0: the
        pictures', at most 128, or the start's (`start.size_to_paint_at`).
    """

    start: str = ""
    paint_size: int = 0
    width: int = 16  # of the painter
    movement_width: int = 24
    side_channels: int = 1  # of the landmark heatmap; 0: no side image
    critic_width: int = 32


@dataclass(frozen=True)
class LossSettings:
    """Weights; 0 switches a term off and saves its cost."""

    penalty: float = 1.0  # R1 of each critic's mean score, at full size (`_share_of_pixels`)
    parts: float = 1.0  # adversarial term of mouth and eyes
    classification: float = 0.5  # of the generator
    critic_classification: float = 1.0
    bidirectional: float = 2.0
    movement: float = 30.0
    roughness: float = 10.0
    paired: float = 5.0  # likeness to the subject's own picture with the attributes asked for, if there is one
    paint: float = 0.05  # opacity of the paint
    own: float = 10.0  # |x' - x| of faces that are asked for the attributes they have


@dataclass(frozen=True)
class WarmUpSettings:
    updates: int = 400  # of D_cls alone; up to four times in a row, from new weights, while it has learnt nothing
    learning_rate: float = 1e-4
    movement: int = 0  # updates of the movement alone, by landmarks
    movement_learning_rate: float = 1e-3
    paint: int = 0  # then of movement and paint together, by the subjects' own pictures, without critics
    ramp: int = 200  # updates over which the critics' rate rises from there to schedule.critic_learning_rate


@dataclass(frozen=True)
class Settings:
    network: NetworkSettings = field(default_factory=NetworkSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    warm_up: WarmUpSettings = field(default_factory=WarmUpSettings)


@dataclass
class Batch:
    """N moved faces and what is asked of them; pictures are (N, C, H, W) in [-1, 1], landmarks (N, 68, 2) in half-sides.

    image, side: x and s; s is None without side images. y_source: the attributes of x. y: those asked for; both (N, A).
    told: y_source, 0 for faces of which the generator is not told what they show.
    before, after: the landmarks of x, and where they should go.
    target, theirs: the subject's own picture with attributes y and its landmarks, brought to the pose of x, for faces
        with `known` (N,) 1.
    own: (N,), 1 for faces that have y already. shift: (N, 3, 2), random shifts of the crops of mouth and eyes.
    """

    image: Tensor
    side: Tensor | None
    y_source: Tensor
    y: Tensor
    told: Tensor
    before: Tensor
    after: Tensor
    target: Tensor
    theirs: Tensor
    known: Tensor
    own: Tensor
    shift: Tensor

    def tensors(self) -> list[Tensor]:
        """All of them, without a side image that is not there."""
        return [value for value in vars(self).values() if value is not None]


class Method(FaceMethod):
    settings: Settings
    weights: LossSettings

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        check_square(self.train_set, 16, "another size")
        device = self.processes.device
        self.faces = open_stream(self.config, self.train_set, self.processes, moved=False)
        self.targets = targets_of(self.train_set, mirrored=self.faces.flip, pairs=bool(self.weights.paired))
        # Expected shares of a batch: asked for what they have; having the subject's own picture of what is asked for.
        self.own_share = 1 / len(self.targets.y)
        self.known_share = self.targets.known_share
        painted = self._paint_size()
        self.crops = PartCrops(painted).to(device)
        self.critic_side = _CRITIC_SIDE if self.size >= 2 * _CRITIC_SIDE else min(self.size, _CRITIC_SIDE // 2)
        self.branches = Branches(device, 2)
        with seeds.initial_weights(self.config.seed):
            self.generator = MovingGenerator(
                self.schema.dimension,
                self.size,
                self.settings.network.side_channels,
                self.settings.network.width,
                self.settings.network.movement_width,
                takes_source=True,
                paint_size=painted if painted < self.size else None,
                smooth_paint=True,
            ).to(device)
            self.critic = self._new_critic().to(device)
            self.parts = PartCritics(self.schema.dimension, self.crops, self.settings.network.critic_width).to(device)
            begun = self.settings.network.start
            self.start = begin_with(self.generator, self.schema, begun, self.train_set) if begun else None
            if self.start:
                self.notes = [*self.notes, *self.start.lines(inputs.test_set.subjects)]
        self.networks = {"generator": self.generator, "critic": self.critic, "parts": self.parts}
        self.at_chance = losses.softmax_at_chance(self.train_set.y, self.schema)
        self.landmark_weights = LANDMARK_WEIGHTS.to(device)
        self.landmark_depth = LANDMARK_DEPTH.to(device)
        self.shapes = None if self.targets.shapes is None else self.targets.shapes.to(device)
        self.memory = {
            "warm_up_loss": torch.tensor(self.at_chance, device=device),  # a running mean of D_cls's loss
        }

    def _paint_size(self) -> int:
        start, size = self.settings.network.start, self.settings.network.paint_size
        if not size:
            return size_to_paint_at(start, self.size) if start else min(self.size, _PAINTED)
        step = 2 ** painter_levels(size)
        if size % step or not 16 <= size <= self.size:
            raise LsslError(
                f"network.paint_size is {size}: it must be a multiple of {step} from 16 to {self.size}, or 0"
            )
        return size

    def about(self, iteration: int) -> dict[str, Any]:
        return {**super().about(iteration), **({"start": self.start.name} if self.start else {})}

    def draw(self, step: int, *, warm_up: bool = False) -> Plan:
        chance = self.faces.chance(step, "targets", warm_up=warm_up)
        count, targets = self.faces.batch_size, self.targets
        rows = balanced_rows(targets.of_row, count, step, chance)
        asked = torch.randint(len(targets.y), (count,), generator=chance)
        partner = targets.partner[rows, asked]
        drawn = {
            "asked": asked,
            "has": targets.of_row[rows],
            "known": (partner >= 0).float(),
            "pose": targets.pose[rows, asked],
            "moves": torch.rand(count, MOVES, generator=chance) * 2 - 1,
            "shift": (torch.rand(count, 3, 2, generator=chance) * 2 - 1) * 0.05,
            "y": targets.y[asked],
            "mouth": torch.rand(count, generator=chance) * 2 - 1,
            "told": (torch.rand(count, 1, generator=chance) < _TOLD).float(),
        }
        mirrored = self.faces.rows(step, warm_up=warm_up)[1]
        drawn["pose"] = torch.where(mirrored[:, None], mirrored_pose(drawn["pose"]), drawn["pose"])
        drawn = {name: self.processes.share(values) for name, values in drawn.items()}
        faces = self.faces.draw(step, warm_up=warm_up, rows=rows)
        partners = self.faces.draw(step, warm_up=warm_up, rows=partner.clamp(min=0), name="partner")
        return {**drawn, **faces, **partners}

    def batch(self, plan: Plan) -> Batch:
        # The faces and then their partners in one batch: on a GPU the number of operations is what takes time.
        faces = self.faces.batch(plan, also="partner", draw_side=False)
        affine, light = moves_of(plan["moves"], self.config.data.jitter)
        known, pose, count = plan["known"], plan["pose"], len(affine)
        onto = composed(pose_affine(pose), affine)
        moves, side, mouths = torch.cat([affine, onto]), None, None
        before = after = theirs = torch.zeros(count, 68, 2, device=affine.device)
        if faces.landmarks is not None and self.shapes is not None:
            before, theirs = half_sides(faces.landmarks, self.train_set.size).chunk(2)
            mean = before + self.shapes[plan["asked"]] - self.shapes[plan["has"]]
            after = torch.where(known[:, None, None] > 0, with_pose(theirs, pose, self.landmark_depth), mean)
            moved = move_points(torch.cat([before, theirs, after]), torch.cat([moves, affine]))
            narrowing = plan["mouth"] * self.config.data.jitter * MOUTH
            mouths = Mouths(moved[:, MOUTH_POINTS].mean(1), narrowing.repeat(3))
            before, theirs, after = mouths.move_points(moved).chunk(3)
            mouths = Mouths(mouths.centre[: 2 * count], mouths.narrowing[: 2 * count])
        image, target = light_images(move_images(faces.image, moves, mouths), light.repeat(2, 1)).chunk(2)
        if self.shapes is not None:
            target = in_light_of(image, before, target, theirs)
            if self.train_set.side == "heatmap":
                side = self.train_set.heatmap((before + 1) / 2 * self.size - 0.5)
        own = (plan["asked"] == plan["has"]).float()
        y = faces.y[:count]
        return Batch(
            image, side, y, plan["y"], y * plan["told"], before, after, target, theirs, known, own, plan["shift"]
        )

    def updates(self) -> Sequence[Update]:
        schedule = self.config.schedule
        return (
            Update(
                "critic",
                ("critic", "parts"),
                self.critic_loss,
                schedule.critic_rate,
                schedule.betas,
                schedule.critic_updates,
                (self.settings.warm_up.learning_rate / schedule.critic_rate, self.settings.warm_up.ramp),
            ),
            Update("generator", ("generator",), self.generator_loss, schedule.learning_rate, schedule.betas),
        )

    def warm_up(self) -> Iterator[Stage]:
        """The movement alone, then with the paint, if asked for; then D_cls alone on real faces: they guide the rest from the
        first iteration on."""
        settings, betas = self.settings.warm_up, self.config.schedule.betas
        if settings.movement and self.weights.movement and self.shapes is not None:
            rate = settings.movement_learning_rate
            update = Update("movement", ("generator",), self.movement_loss, rate, betas)
            yield Stage("warming up the movement", update, settings.movement, decay=_LANDING)
        if settings.paint and self.weights.paired and self.known_share > 1.1 * self.own_share:
            update = Update("paint", ("generator",), self.paint_loss, self.config.schedule.learning_rate, betas)
            yield Stage("warming up the paint", update, settings.paint)
        rate, count = settings.learning_rate, settings.updates
        title = "warming up D_cls"
        for attempt in range(1 + _RESTARTS):
            update = Update("D_cls", ("critic",), self.classifier_loss, rate, betas)
            yield Stage(title, update, count, anew=attempt > 0)
            if count < _TELLING or self.classifier_has_begun():
                return
            if attempt < _RESTARTS:
                rate /= 2
                title = f"D_cls has learnt nothing yet: again from new weights, rate {rate:.1e}"
                with seeds.initial_weights(self.config.seed + 1000 * (attempt + 1)), torch.no_grad():
                    fresh = self._new_critic().to(self.processes.device)
                    for old, new in zip(self.critic.parameters(), fresh.parameters(), strict=True):
                        old.copy_(new)
                self.memory["warm_up_loss"].fill_(self.at_chance)
        if self.processes.first:
            names = ", ".join(group.name for group in self.schema.groups)
            warnings.warn(
                f"after {(1 + _RESTARTS) * count} updates D_cls still recognises {names} no better than chance, so the "
                "generator will hardly learn to change it: check that the labels are right, or raise warm_up.updates",
                stacklevel=2,
            )

    def movement_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        with autocast(self.config, batch.image.device):
            flow = self.generator.move(batch.image, batch.side, batch.y, batch.told)[0]
        missed = self._missed(flow, batch)
        return self.weights.movement * missed + self.weights.roughness * roughness(flow), {"g_move": missed}

    def paint_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        """Movement and paint before there are critics; see `warm_up`."""
        edit, fake, _ = self._made(batch)
        return self._taught(batch, edit, fake, *self.crops(fake, batch.after, batch.shift))

    def _made(self, batch: Batch) -> tuple[Edit, Tensor, Tensor | None]:
        """The generator's edit, the face that it makes, and its side image."""
        with autocast(self.config, batch.image.device):
            edit, moved, side = self.generator.edit(batch.image, batch.side, batch.y, batch.told)
        return edit, moved + edit.opacity * (edit.paint - moved), side

    def _taught(self, batch: Batch, edit: Edit, fake: Tensor, mouth: Tensor, eyes: Tensor) -> tuple[Tensor, Terms]:
        """What needs no critic: where landmarks go, the subject's own picture, and that the rest stays."""
        weights = self.weights
        terms: Terms = {"g_own": losses.mean_where(batch.own, (fake - batch.image).abs(), self.own_share)}
        loss = weights.own * terms["g_own"] + weights.paint * edit.opacity.mean()
        if weights.movement and self.shapes is not None:
            terms["g_move"] = self._missed(edit.flow, batch)
            loss = loss + weights.movement * terms["g_move"] + weights.roughness * roughness(edit.flow)
        if weights.paired:
            terms["g_pair"] = self._likeness(batch, fake, mouth, eyes)
            loss = loss + weights.paired * terms["g_pair"]
        return loss, terms

    def _missed(self, flow: Tensor, batch: Batch) -> Tensor:
        """`movement_error`. Faces that should stay count less: where it is hard to see whether a face shows what is asked
        for, as with people whose mouths are wide, the median of both is to stay, and they would never smile."""
        of_face = 1 - (1 - _STAYING) * batch.own
        return movement_error(flow, batch.before, batch.after, self.landmark_weights, of_face)

    def classifier_has_begun(self) -> bool:
        """Whether D_cls does better than chance, on the mean of all processes."""
        return self.processes.mean(self.memory["warm_up_loss"].clone()).item() < _LEARNT * self.at_chance

    def classifier_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        logits = self.critic(self.seen(batch.image)).attributes
        loss = losses.attribute_softmax(logits, batch.y_source, self.schema)
        with torch.no_grad():
            self.memory["warm_up_loss"].lerp_(loss.detach(), 0.02)
        return loss, {"d_cls": loss}

    def critic_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        with torch.no_grad(), autocast(self.config, batch.image.device):
            fake = self.generator(batch.image, batch.side, batch.y, batch.told)[0]
        fake = fake.float()
        real_mouth, real_eyes = self.crops(batch.image, batch.before, batch.shift)
        fake_mouth, fake_eyes = self.crops(fake, batch.after, batch.shift)
        y_real, y_fake = batch.y_source, batch.y
        judged = []
        for branch, (critic, real, made, times) in enumerate(
            (
                (self.parts.mouth, real_mouth, fake_mouth, 1),
                (self.parts.eyes, real_eyes, fake_eyes, 2),
            )
        ):
            with self.branches.aside(branch, real, made, y_real, y_fake):
                judged.append(self._judge(critic, real, made, y_real.repeat(times, 1), y_fake.repeat(times, 1)))
        terms, loss = self._judge(self.critic, self.seen(batch.image), self.seen(fake), y_real, y_fake)
        self.branches.join(*(tensor for made, part in judged for tensor in (*made.values(), part)))
        for part_terms, part in judged:
            loss = loss + part
            terms["d_part"] = terms.get("d_part", 0) + part_terms["d_real"] + part_terms["d_fake"]
        return loss, terms

    def _judge(
        self, critic: Discriminator, real: Tensor, fake: Tensor, y_real: Tensor, y_fake: Tensor
    ) -> tuple[Terms, Tensor]:
        """One critic's terms and its loss; that of the whole face learns the attributes of real faces, too."""
        realism, logits = critic(torch.cat([real, fake]))
        real_score, fake_score = realism.chunk(2)
        real_logits, fake_logits = logits.chunk(2)
        real_score = real_score + losses.projection(real_logits, y_real, self.schema)
        fake_score = fake_score + losses.projection(fake_logits, y_fake, self.schema)
        terms = {"d_real": -real_score.mean(), "d_fake": fake_score.mean()}
        loss = losses.logistic(real_score, fake_score)
        if self.weights.penalty:
            terms["d_gp"] = r1_penalty(lambda pictures: self._score(critic, pictures, y_real), real)
            loss = loss + self.weights.penalty * self._share_of_pixels(critic) * terms["d_gp"]
        if critic is self.critic:
            terms["d_cls"] = losses.attribute_softmax(real_logits, y_real, self.schema)
            loss = loss + self.weights.critic_classification * terms["d_cls"]
        return terms, loss

    def _score(self, critic: Discriminator, pictures: Tensor, y: Tensor) -> Tensor:
        """How real a critic finds faces given y, (N, 1); the mean over patches, so that R1 means the same at every size."""
        realism, logits = critic(pictures)
        return (realism + losses.projection(logits, y, self.schema)).mean((2, 3))

    def _share_of_pixels(self, critic: Discriminator) -> float:
        """The share of the pixels that a critic sees of those that it sees of large pictures. R1 is weighted by it: the fewer
        pixels show an expression, the more each of them counts, and the larger is the gradient."""
        seen, largest = (self.critic_side, _CRITIC_SIDE) if critic is self.critic else (self.crops.side, _PARTS_SIDE)
        return min(1.0, seen / largest) ** 2

    def generator_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        with self.generator.gathering():
            return self._generator_loss(batch)

    def _generator_loss(self, batch: Batch) -> tuple[Tensor, Terms]:
        weights, device = self.weights, batch.image.device
        edit, fake, side = self._made(batch)
        mouth, eyes = self.crops(fake, batch.after, batch.shift)

        def adversarial(critic: Discriminator, pictures: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            realism, logits = critic(pictures)
            return losses.generator_logistic(realism + losses.projection(logits, y, self.schema)), logits

        terms: Terms = {}
        with self.branches.aside(0, *edit, fake, mouth, eyes, *batch.tensors()):
            terms["g_adv"], logits = adversarial(self.critic, self.seen(fake), batch.y)
            if weights.classification:
                terms["g_cls"] = losses.attribute_softmax(logits, batch.y, self.schema)
            taught, more = self._taught(batch, edit, fake, mouth, eyes)
        if weights.parts:
            with self.branches.aside(1, mouth, eyes, batch.y):
                of_mouth, _ = adversarial(self.parts.mouth, mouth, batch.y)
                of_eyes, _ = adversarial(self.parts.eyes, eyes, batch.y.repeat(2, 1))
                terms["g_part"] = of_mouth + 0.5 * of_eyes
        if weights.bidirectional:
            with autocast(self.config, device):
                back = self.generator(fake, side, batch.y_source, batch.y)[0]
        self.branches.join(taught, *terms.values(), *more.values())
        loss = terms["g_adv"] + taught
        if weights.parts:
            loss = loss + weights.parts * terms["g_part"]
        if weights.classification:
            loss = loss + weights.classification * terms["g_cls"]
        terms.update(more)
        if weights.bidirectional:
            terms["g_bi"] = losses.bidirectional(batch.image, back.float())
            loss = loss + weights.bidirectional * terms["g_bi"]
        return loss, terms

    def _likeness(self, batch: Batch, fake: Tensor, mouth: Tensor, eyes: Tensor) -> Tensor:
        """The distance to the subject's own picture: mouth and eyes in detail, the face coarsely; hair and background
        may differ."""
        their_mouth, their_eyes = self.crops(batch.target, batch.theirs, batch.shift)
        face, their_face = self.crops.face(fake, batch.after), self.crops.face(batch.target, batch.theirs)
        known = batch.known
        share = self.known_share
        likeness = losses.mean_where(known, (mouth - their_mouth).abs(), share)
        likeness = likeness + losses.mean_where(known, (face - their_face).abs(), share)
        return likeness + 0.5 * losses.mean_where(known.repeat(2), (eyes - their_eyes).abs(), share)

    def seen(self, image: Tensor) -> Tensor:
        """The pictures at the size that the critic of the whole face sees."""
        if self.size == self.critic_side:
            return image
        return F.interpolate(image, size=(self.critic_side, self.critic_side), mode="area")

    def _new_critic(self) -> Discriminator:
        layers = int(math.log2(self.critic_side)) - 2  # down to 4x4
        return Discriminator(self.schema.dimension, 3, self.critic_side, self.settings.network.critic_width, layers)

    def word(self, values: Mapping[str, float]) -> str:
        """How well D_cls recognises attributes, how far unseen faces move."""
        names = ", ".join(group.name for group in self.schema.groups)
        known = values["d_cls"] / self.at_chance
        told = f"D_cls recognises {names} (its loss is {known:.0%} of chance level)"
        if known > _LEARNT:
            told = f"D_cls hardly recognises {names} (its loss is {known:.0%} of chance level): check that the labels are right"
        if (gone := self.way_gone()) is not None:
            told += f"; unseen faces move {gone:.0%} of the way asked of them"
        return told

    @torch.no_grad()
    def way_gone(self) -> float | None:
        """`movement.way_gone` of the sample faces, each asked for every class; None without landmarks."""
        shown, shapes = self.shown, self.shapes
        if shown.landmarks is None or shapes is None:
            return None
        y = self.targets.y.to(shown.y.device)
        has = (shown.y[:, None] - y).abs().sum(2).argmin(1)
        before = half_sides(shown.landmarks, self.train_set.size)
        flows, starts, ways = [], [], []
        for asked in range(len(y)):
            flow = self.generator.move(shown.image, shown.side, y[asked].expand(len(has), -1), shown.y)[0]
            flows.append(flow)
            starts.append(before)
            ways.append(shapes[asked] - shapes[has])
        return way_gone(torch.cat(flows), torch.cat(starts), torch.cat(ways), self.landmark_weights)

    @staticmethod
    def side(settings: Settings) -> tuple[str, int]:
        return side_image("heatmap", settings.network.side_channels)
