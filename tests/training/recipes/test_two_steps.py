"""Two steps of each recipe beside a plain PyTorch loop, whose every number is typed in again from the source."""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer, RMSprop, lr_scheduler
from torchvision.transforms import v2

from featherlight.errors import TrainingStoppedError
from featherlight.loading.augment import random_seed_for
from featherlight.loading.batches import MemoryBatches, storage_preprocessing
from featherlight.training.checkpoint import Origin
from featherlight.training.defaults import DataFacts, default_recipe
from featherlight.training.learner import Learner
from featherlight.training.recipe import Recipe
from featherlight.training.recipes.catalogue import list_recipes
from featherlight.training.trainer import Trainer, Validation
from featherlight.workflows.fit import preprocessing_of
from featherlight.workflows.starting_weights import build_network
from featherlight.workflows.training_images import augmentation_of

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR10 = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
BYTES = (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)
SIZES = {"input_size": 32, "batch_size": 8, "speed": "plain", "seed": 3}
IMAGES, CLASSES, BATCHES = 40, 3, 5


@dataclass
class Plain:
    """A training loop as a tutorial would write it.

    Attributes:
        optimizer: from the network.
        scheduler: from the optimiser and the steps in an epoch.
        scale: mean and standard deviation of the images.
        criterion: from what the network returns and the targets.
        per_epoch: the scheduler's steps are epochs.
        augment: images and labels to images and targets.
    """

    optimizer: Callable[[nn.Module], Optimizer]
    scheduler: Callable[[Optimizer, int], lr_scheduler.LRScheduler]
    scale: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    criterion: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    per_epoch: bool = False
    augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda images, labels: (images, labels)


def sgd(network: nn.Module, lr: float, weight_decay: float, **changes: Any) -> Optimizer:
    return SGD(network.parameters(), lr, **{"momentum": 0.9, "fused": True, **changes}, weight_decay=weight_decay)


def sgd_but(network: nn.Module, lr: float, decay: float, spared: Iterable[nn.Parameter], **changes: Any) -> Optimizer:
    """SGD that spares some parameters the weight decay."""
    spared = list(spared)
    rest = [p for p in network.parameters() if all(p is not other for other in spared)]
    groups = [{"params": rest, "weight_decay": decay}, {"params": spared, "weight_decay": 0.0}]
    return SGD(groups, lr, **{"momentum": 0.9, "fused": True, **changes})


def norms(network: nn.Module) -> list[nn.Parameter]:
    return [p for m in network.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]


def vectors(network: nn.Module) -> list[nn.Parameter]:
    return [p for p in network.parameters() if p.ndim == 1]


def constant(optimizer: Optimizer, _: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.ConstantLR(optimizer, 1.0)


def one_cycle_of_150(optimizer: Optimizer, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.OneCycleLR(
        optimizer, 0.1, steps_per_epoch=steps_per_epoch, epochs=150, div_factor=25, final_div_factor=10000,
        pct_start=0.3,
    )  # fmt: skip


def default_one_cycle(optimizer: Optimizer, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
    rate = optimizer.param_groups[0]["lr"]
    steps = 100 * steps_per_epoch
    return lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.2, cycle_momentum=False)


def cosine_of_200(optimizer: Optimizer, _: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=200)


def warm_cosine(epochs: int, warmup: int, optimizer: Optimizer, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
    """mindcv: from nothing to the rate, then down along a cosine, with each step."""
    rise, fall = warmup * steps_per_epoch, (epochs - warmup) * steps_per_epoch
    return lr_scheduler.SequentialLR(
        optimizer,
        [
            lr_scheduler.LambdaLR(optimizer, lambda step: step / rise),
            lr_scheduler.CosineAnnealingLR(optimizer, fall),
        ],
        milestones=[rise],
    )


def torchvision_cosine(optimizer: Optimizer, _: int) -> lr_scheduler.LRScheduler:
    rise = lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=5)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=595)
    return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[5])


def linear(steps: int, optimizer: Optimizer, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
    return lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / (steps * steps_per_epoch))


def softmax_twice(outputs: Tensor, targets: Tensor) -> Tensor:
    """A network that ends in a softmax, and a criterion that begins with one."""
    return nn.CrossEntropyLoss()(nn.Softmax(dim=1)(outputs), targets)


def erase(probability: float, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    erasing = v2.RandomErasing(p=probability)
    return torch.stack([erasing(image) for image in images]), labels


def erase_and_mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    images, labels = erase(0.1, images, labels)
    mixes = [v2.MixUp(alpha=0.2, num_classes=CLASSES), v2.CutMix(alpha=1.0, num_classes=CLASSES)]
    mixed: tuple[Tensor, Tensor] = mixes[int(torch.randint(2, ()))](images, labels)
    return mixed


SMOOTH = nn.CrossEntropyLoss(label_smoothing=0.1)
OWN_RATE = 0.0247  # 0.07 * sqrt(8 / 64), rounded


def own(network: nn.Module) -> Optimizer:
    return sgd_but(network, OWN_RATE, 5e-4, vectors(network), nesterov=True)


def mindcv(lr: float, decay: float, epochs: int, warmup: int, *, spare: bool, **more: Any) -> Plain:
    if spare:
        optimizer: Any = lambda network: sgd_but(network, lr, decay, vectors(network))  # noqa: E731
    else:
        optimizer = lambda network: sgd(network, lr, decay)  # noqa: E731
    return Plain(optimizer, partial(warm_cosine, epochs, warmup), criterion=SMOOTH, **more)


MEGVII = Plain(
    lambda network: sgd_but(network, 0.5, 4e-5, vectors(network)), partial(linear, 240), BYTES, criterion=SMOOTH
)
ASCEND = Plain(
    # created with a rate of 1.0 and no momentum, both of which the scheduler overwrites
    lambda network: sgd(network, 1.0, 5e-4, momentum=0.0),
    one_cycle_of_150,
    CIFAR10,
    softmax_twice,
)
LOOPS: dict[str, Plain] = {
    "default": Plain(own, default_one_cycle, criterion=SMOOTH),
    "article-mindspore-shufflenet-v1": Plain(lambda network: sgd(network, 0.1, 0.0), constant),
    "article-ascend-mobilenet-v1": ASCEND,
    "article-ascend-mobilenet-v1-corrected": Plain(ASCEND.optimizer, ASCEND.scheduler, CIFAR10),
    "article-keras-shufflenet-v2": Plain(own, default_one_cycle, criterion=SMOOTH),
    "article-mobilenet-v3": Plain(own, lambda o, n: lr_scheduler.CosineAnnealingLR(o, 100 * n), criterion=SMOOTH),
    "kuangliu-cifar10": Plain(lambda network: sgd(network, 0.1, 5e-4), cosine_of_200, CIFAR10, per_epoch=True),
    "chenyaofo-cifar10": Plain(
        lambda network: sgd(network, 0.1, 5e-4, nesterov=True), cosine_of_200, CIFAR10, per_epoch=True
    ),
    "torchvision-mobilenet-v2": Plain(
        lambda network: sgd(network, 0.045, 4e-5),
        lambda optimizer, _: lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.98),
        per_epoch=True,
    ),
    "torchvision-mobilenet-v3": Plain(
        lambda network: RMSprop(network.parameters(), lr=0.064, momentum=0.9, weight_decay=1e-5, eps=0.0316, alpha=0.9),
        lambda optimizer, _: lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.973),
        per_epoch=True,
        augment=partial(erase, 0.2),
    ),
    "torchvision-shufflenet-v2": Plain(
        lambda network: sgd_but(network, 0.5, 2e-5, norms(network)),
        torchvision_cosine,
        criterion=SMOOTH,
        per_epoch=True,
        augment=erase_and_mix,
    ),
    "megvii-shufflenet-v1": MEGVII,
    "megvii-shufflenet-v2": MEGVII,
    "mindcv-shufflenet-v1": mindcv(0.4, 4e-5, 250, 4, spare=True),
    "mindcv-shufflenet-v2": mindcv(0.4, 4e-5, 300, 5, spare=True, augment=partial(erase, 0.5)),
    "mindcv-mobilenet-v1": mindcv(0.4, 3e-5, 200, 2, spare=False),
    "mindcv-mobilenet-v2": mindcv(0.4, 4e-5, 320, 4, spare=False),
    "mindcv-mobilenet-v3": mindcv(0.77, 2e-5, 470, 4, spare=True),
}


class NoValidation:
    def __len__(self) -> int:
        return 1

    def __call__(self, model: nn.Module) -> Validation:
        return Validation(1.0, 0.0, 0.0)

    def part(self, count: int) -> NoValidation:
        return self


@dataclass
class Interrupt:
    """Ends training after so many steps, as a person with Ctrl-C does."""

    after: int

    def step(self, text: str, part_done: float) -> None:
        self.after -= 1
        if self.after == 0:
            signal.raise_signal(signal.SIGINT)

    def epoch(self, row: dict[str, Any]) -> None:
        pass


def make_trainer(recipe: Recipe, run: Path, steps: int) -> Trainer:
    preprocessing, augmentation = preprocessing_of(recipe), augmentation_of(recipe, CLASSES)
    side = storage_preprocessing(preprocessing, augmentation).input_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, side, side, 3), generator=generator).to(torch.uint8)
    labels = torch.arange(IMAGES) % CLASSES
    batches = MemoryBatches(images, labels, augmentation, recipe.batch_size, recipe.seed, [], repeats=recipe.repeats)
    network = build_network(recipe, CLASSES, pretrained=False)
    learner = Learner(network, recipe, preprocessing, augmentation)
    return Trainer(learner, batches, NoValidation(), run, Origin("f"), Interrupt(steps))


def run_plain(plain: Plain, network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], seed: int) -> None:
    optimizer = plain.optimizer(network)
    scheduler = plain.scheduler(optimizer, BATCHES)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in plain.scale)
    network.train()
    for step, (images, labels) in enumerate(batches):
        torch.manual_seed(random_seed_for(seed, step))
        floats = (images.permute(0, 3, 1, 2) - mean * 255) * (1 / (std * 255))
        floats, targets = plain.augment(floats.contiguous(), labels)
        optimizer.zero_grad()
        plain.criterion(network(floats), targets).backward()
        optimizer.step()
        if not plain.per_epoch or step % BATCHES == BATCHES - 1:
            scheduler.step()


def recipe_of(name: str, **changes: Any) -> Recipe:
    sizes = SIZES | ({"train_size": 32} if name == "torchvision-shufflenet-v2" else {}) | {"grow": 0.0}
    return default_recipe(DataFacts("tiny", IMAGES, 48, True), {"recipe": name, **sizes, **changes})


def compare(recipe: Recipe, run: Path) -> None:
    trainer = make_trainer(recipe, run, steps=2)
    start = copy.deepcopy(trainer.learner.model)
    with pytest.raises(TrainingStoppedError):
        trainer.fit()
    batches = [(batch.images, batch.labels) for batch in trainer.batches.epoch(0)][:2]
    reference = copy.deepcopy(start)
    run_plain(LOOPS[recipe.recipe], reference, batches, recipe.seed)
    ours, theirs, before = (network.state_dict() for network in (trainer.learner.model, reference, start))
    assert any(not torch.equal(theirs[key], before[key]) for key in before)
    different = {
        key: float((ours[key] - theirs[key]).abs().max()) for key in ours if not torch.equal(ours[key], theirs[key])
    }
    assert different == {}


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")  # PyTorch's own SequentialLR
@pytest.mark.parametrize("name", list_recipes())
def test_two_steps_are_those_of_a_plain_loop(tmp_path, name):
    compare(recipe_of(name), tmp_path)


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")
@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("article-ascend-mobilenet-v1", {"loss": "cross-entropy"}),
        ("article-ascend-mobilenet-v1", {"cycle_momentum": False}),
        ("article-ascend-mobilenet-v1", {"weight_decay_on": "weights"}),
        ("article-ascend-mobilenet-v1", {"schedule_epochs": 151}),
        ("torchvision-shufflenet-v2", {"weight_decay_on": "weights"}),
        ("torchvision-mobilenet-v3", {"eps": 0.001}),
    ],
)
def test_the_comparison_would_notice(tmp_path, name, mistake):
    with pytest.raises(AssertionError, match=r"== \{\}"):
        compare(recipe_of(name, **mistake), tmp_path)
