"""Batches become gradients, gradients become an update: the arithmetic of training, without the run around it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from featherlight.images import Preprocessing
from featherlight.loading.augment import Augmentation, mix_batch
from featherlight.loading.batches import Batch
from featherlight.models.engine import Normalizer
from featherlight.training.balance import weigh
from featherlight.training.growth import shrink
from featherlight.training.layers import freeze
from featherlight.training.loss import compute_losses
from featherlight.training.optimiser import build_average, build_optimizer, give_momentum, update_average
from featherlight.training.recipe import Recipe
from featherlight.training.schedule import START, Place
from featherlight.training.speed import TrainingStep
from featherlight.training.speed.settle import plan_of
from featherlight.training.teacher import Teacher, distill
from featherlight.training.team import ALONE, Team


class Learner:
    """A network, its optimiser and its running mean.

    Args:
        model: the network, on the device.
        recipe: what to do.
        preprocessing: of the model.
        augmentation: of the training images; the batches have had all of it but mixing.
        class_weights: how much each class counts in the loss, float32 (K,); None: all alike.
        teacher: whose answers are learned too.
        team: processes that share each batch.

    Attributes:
        gathered: images whose gradients wait for the next update.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        class_weights: Tensor | None = None,
        teacher: Teacher | None = None,
        team: Team = ALONE,
    ) -> None:
        self.model, self.recipe, self.augmentation, self.teacher = model, recipe, augmentation, teacher
        self.team = team
        self.device = next(model.parameters()).device
        self.class_weights = None if class_weights is None else class_weights.to(self.device)
        self.computed = TrainingStep(model, plan_of(recipe))
        self.optimizer = build_optimizer(model, recipe)
        self.average = build_average(model, recipe)
        self.gathered = 0
        self._frozen: list[nn.Module] = []
        self._normalize = Normalizer(preprocessing)

    @property
    def modules(self) -> dict[str, nn.Module | None]:
        """What a checkpoint holds of it."""
        return {"model": self.model, "average": self.average}

    @property
    def state(self) -> list[Tensor]:
        """All numbers of the network and its mean."""
        return [
            value for module in self.modules.values() if module is not None for value in module.state_dict().values()
        ]

    @property
    def averaged(self) -> nn.Module:
        """The network whose weights are validated and kept: the running mean where there is one."""
        if self.average is None:
            return self.model
        network: nn.Module = self.average.module
        return network

    @property
    def rate(self) -> float:
        """The learning rate of the classifier."""
        return float(self.optimizer.param_groups[0]["lr"])

    def freeze(self, epoch: int) -> None:
        """Freezes what the recipe keeps as it is in this epoch, and lets the rest learn."""
        self._frozen = freeze(self.model, self.recipe, epoch)
        if self.recipe.freeze_epochs > 0:
            give_momentum(self.optimizer)

    def gather(self, batch: Batch, seed: int, side: int | None = None) -> tuple[float, int]:
        """Adds the gradients of a batch to those that wait.

        Args:
            batch: the images.
            seed: everything random follows from it, so nothing of it needs saving.
            side: the network sees the images in this size; by default as they come.

        Returns:
            Mean loss, and how many images were recognised.
        """
        labels = batch.labels.to(self.device, non_blocking=True)
        raw = batch.images.to(self.device, non_blocking=True)
        taught = None if self.teacher is None else self.teacher(raw, lambda images: self._mix(images, labels, seed)[0])
        images, targets = self._mix(self._normalize(raw), labels, seed)
        images = images if side is None else shrink(images, side)
        loss, logits = self._loss(images, targets, batch.weights, taught)
        # As a sum where batches are gathered or shared: the mean is right whatever the sizes of the parts.
        whole = self.recipe.accumulate == 1 and self.team.is_alone
        self.computed.backward(loss if whole else loss * len(labels))
        self.gathered += len(labels)
        return loss.item(), int((logits.argmax(1) == labels).sum())

    def miss(self) -> None:
        """Counts a batch of which this process of a team has no image."""
        self._set_modes()
        for norm in learning_norms(self.model):
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked += 1

    def _mix(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # the usual call also notes a stack for each kind of accelerator
        else:
            torch.manual_seed(seed)
        return mix_batch(images, labels, self.augmentation)

    def _loss(
        self, images: Tensor, targets: Tensor, weights: Tensor | None, taught: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        self._set_modes()
        logits = self.computed.forward(images)
        losses = compute_losses(logits, targets, self.recipe)
        if taught is not None:
            losses = distill(losses, logits, taught, self.recipe.distill_weight, self.recipe.distill_temperature)
        loss = weigh(losses, targets, self.class_weights, None if weights is None else weights.to(self.device))
        return loss, logits.detach()

    def _set_modes(self) -> None:
        self.model.train()
        for module in self._frozen:
            module.eval()

    def update(self, step: int = 0, place: Place = START) -> None:
        """Moves the weights by the gathered gradients, at the rate that is set.

        Args:
            step: updates before this one.
            place: where in its schedule this one is.
        """
        if not self.team.is_alone:
            self._combine()
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        if self.recipe.accumulate > 1 and self.team.is_alone:
            torch._foreach_div_([p.grad for p in parameters if p.grad is not None], self.gathered)
        if self.recipe.clip_value > 0:
            nn.utils.clip_grad_value_(parameters, self.recipe.clip_value)
        if self.recipe.clip_norm > 0:
            nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            update_average(self.average, self.model, self.recipe, step, place)
        self.gathered = 0

    def _combine(self) -> None:
        """Gradients become the mean over all processes' images, running statistics the mean over the processes."""
        learning = [p for p in self.model.parameters() if p.requires_grad]
        for parameter in learning:
            if parameter.grad is None:  # a process whose images could not be read has none
                parameter.grad = torch.zeros_like(parameter)
        self._set_modes()
        gradients = [p.grad for p in learning if p.grad is not None]
        self.team.combine(gradients, running_statistics(self.model), self.gathered)

    def reestimate_norms(self, batches: Iterable[Batch], seed: int) -> None:
        """The running statistics become the means over these batches; no weight changes.

        Args:
            batches: an epoch of them.
            seed: everything random follows from it.
        """
        torch.manual_seed(seed)
        update_bn((self._normalize(batch.images.to(self.device)) for batch in batches), self.averaged)
        if not self.team.is_alone:
            self.averaged.train()
            statistics = running_statistics(self.averaged)
            self.team.combine([torch.zeros(1, device=self.device)], statistics, 1)
            self.averaged.eval()

    def waiting_gradients(self) -> dict[str, Tensor]:
        """Gradients of a group of batches that has not become an update yet, by parameter's name."""
        if self.gathered == 0:
            return {}
        return {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}

    def restore_gradients(self, gradients: dict[str, Tensor], gathered: int) -> None:
        """Puts them back."""
        self.gathered = gathered
        for name, parameter in self.model.named_parameters():
            if name in gradients:
                parameter.grad = torch.empty_like(parameter).copy_(gradients[name])


def learning_norms(model: nn.Module) -> list[_BatchNorm]:
    """Batch norms that see the batch and remember it."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]


def running_statistics(model: nn.Module) -> list[Tensor]:
    """Means and variances of the norms, where they learn at present."""
    found = [statistic for norm in learning_norms(model) for statistic in (norm.running_mean, norm.running_var)]
    return [statistic for statistic in found if statistic is not None]
