"""Recipes of the articles on ShuffleNet and MobileNet that this project began with, as far as they state one.

The other two of the five articles (ShuffleNetV1 by jaxony's code and by kuangliu's) describe networks and train none.
Their networks are ``shufflenet_v1_g3_x1_0.jaxony`` and ``.kuangliu``; jaxony's first weights are
``initialisation=jaxony``, and how kuangliu's repository trains is the recipe ``kuangliu-cifar10``.
"""

from __future__ import annotations

from dataclasses import replace

from featherlight.training.recipes.cifar import CIFAR10_MEAN, CIFAR10_STD
from featherlight.training.recipes.source import NOT_DONE, NOT_STATED, RecipeSource

_VALIDATION = "the article measures the test images after each epoch; here validation images are cut out of train"


def article_mindspore_shufflenet_v1() -> RecipeSource:
    """ShuffleNetV1 2.0x, three groups, on CIFAR-10, by the notes of a MindSpore course.

    ``featherlight train cifar10 --recipe article-mindspore-shufflenet-v1``. Time and accuracy: not stated, and not run
    here. The article's snippet does not run as printed: it feeds single images of 32 px to a network for 224 px.
    """
    return RecipeSource(
        source="MindSpore course notes on ShuffleNet (昇思25天学习打卡营第8天)",
        data="cifar10",
        accuracy=NOT_STATED,
        time=NOT_STATED,
        stated={
            "model": "shufflenet_v1_g3_x2_0.mindspore",
            "epochs": 10,
            "batch_size": 128,
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "momentum": 0.9,
            "loss": "cross-entropy",
            "initialisation": "xavier-uniform",
        },
        implied={**NOT_DONE, "input_size": 224, "stem": "imagenet", "norm_momentum": 0.1},
        ours={"resize": "crop", "crop_fraction": 1.0},
        notes=("as many outputs as classes, not 1000", _VALIDATION),
    )


def article_ascend_mobilenet_v1() -> RecipeSource:
    """MobileNetV1 on CIFAR-10, by an Ascend course: 60 epochs of a one-cycle schedule that would take 150.

    ``featherlight train cifar10 --recipe article-ascend-mobilenet-v1``. Time and accuracy: not stated, and not run
    here. The network there ends in a softmax, to which the loss applies softmax once more; here the loss does both, so
    the gradients are the same and the model still gives logits. The run stops at two fifths of the schedule, shortly
    after the highest rate. ``OneCycleLR`` overwrites the optimiser's rate of 1.0 and, as it does unless told
    otherwise, cycles its momentum.
    """
    return RecipeSource(
        source="Ascend course on MobileNetV1 (PyTorch 实现MobileNetV1用于图像分类)",
        data="cifar10",
        accuracy=NOT_STATED,
        time=NOT_STATED,
        stated={
            "model": "mobilenet_v1_x1_0",
            "input_size": 32,
            "stem": "cifar",
            "mean": CIFAR10_MEAN,
            "std": CIFAR10_STD,
            "epochs": 60,
            "batch_size": 128,
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "weight_decay": 5e-4,
            "schedule": "one-cycle",
            "schedule_epochs": 150,
            "warmup": 0.3,
            "div_factor": 25.0,
            "final_div_factor": 1e4,
            "loss": "double-softmax",
            "crop": "pad",
            "flip": True,
        },
        implied={
            **NOT_DONE,
            "initialisation": "pytorch",
            "crop_fraction": 1.0,
            "cycle_momentum": True,
            "base_momentum": 0.85,
            "max_momentum": 0.95,
        },
        notes=(_VALIDATION,),
    )


def article_ascend_mobilenet_v1_corrected() -> RecipeSource:
    """The same with the softmax taken once, as a cross-entropy of logits.

    ``featherlight train cifar10 --recipe article-ascend-mobilenet-v1-corrected``. Time and accuracy: not run here.
    """
    published = article_ascend_mobilenet_v1()
    stated = {name: value for name, value in published.stated.items() if name != "loss"}
    implied = {name: value for name, value in published.implied.items() if name != "loss"}
    return replace(published, stated=stated, implied=implied, ours={"loss": "cross-entropy"})


def article_keras_shufflenet_v2() -> RecipeSource:
    """ShuffleNetV2 1x with dropout for one's own photos, by an article on training it in Keras.

    ``featherlight train PHOTOS --recipe article-keras-shufflenet-v2``. It states the network, the dropout and that
    softmax belongs to the loss; rate, epochs, batch size and augmentation are not stated, so those of our default
    recipe stand in. Accuracy: none in numbers, but confusion matrices of two trials on a small set of the author's, who
    was not content. Time not stated; not run here.
    """
    return RecipeSource(
        source="article on training ShuffleNetV2 in Keras (有关利用ShuffleNetV2网络训练模型的问题)",
        data="PHOTOS",
        accuracy="confusion matrices only, of a small set of the author's",
        time=NOT_STATED,
        stated={
            "model": "shufflenet_v2_x1_0.keras",
            "input_size": 224,
            "stem": "imagenet",
            "dropout": 0.5,
            "loss": "cross-entropy",
        },
        implied={"pretrained": "none", "initialisation": "keras", "norm_momentum": 0.01},
    )


def article_mobilenet_v3() -> RecipeSource:
    """MobileNetV3 with dropout and cosine decay, where the author of the Keras article began.

    ``featherlight train PHOTOS --recipe article-mobilenet-v3``. It states these two and no number: which MobileNetV3,
    how much dropout and all else are ours. Accuracy and time not stated; not run here.
    """
    return RecipeSource(
        source="the same article, on its starting point",
        data="PHOTOS",
        accuracy=NOT_STATED,
        time=NOT_STATED,
        stated={"schedule": "cosine"},
        ours={"model": "mobilenet_v3_small", "dropout": 0.2, "warmup": 0.0},
        notes=("the schedule and that there is dropout are stated, the dropout's probability is not",),
    )
