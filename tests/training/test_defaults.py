from __future__ import annotations

import pytest

from featherlight.errors import UsageError
from featherlight.training.defaults import DataFacts, default_recipe


def facts(num_train: int = 2000, typical_side: int = 100, flip_safe: bool = True, name: str = "photos") -> DataFacts:
    return DataFacts(name, num_train, typical_side, flip_safe)


@pytest.mark.parametrize(("side", "size"), [(8, 32), (32, 32), (33, 40), (64, 64), (100, 96), (150, 160), (1000, 224)])
def test_input_size_follows_the_images(side, size):
    assert default_recipe(facts(typical_side=side), {}).input_size == size


def test_small_images_keep_their_size_in_the_network():
    recipe = default_recipe(facts(typical_side=32), {})
    assert (recipe.stem, recipe.crop, recipe.crop_fraction) == ("cifar", "pad", 1.0)


def test_timms_networks_have_only_the_published_stem():
    recipe = default_recipe(facts(typical_side=32), {"model": "timm/resnet18"})
    assert (recipe.stem, recipe.dropout, recipe.crop) == ("imagenet", None, "pad")


def test_photos_get_the_published_stem_and_random_regions():
    recipe = default_recipe(facts(typical_side=500), {})
    assert (recipe.stem, recipe.crop, recipe.crop_fraction) == ("imagenet", "resized", 0.875)


@pytest.mark.parametrize(("side", "pretrained"), [(32, "none"), (64, "none"), (100, "auto"), (500, "auto")])
def test_images_of_96_px_and_more_start_from_imagenet_weights(side, pretrained):
    assert default_recipe(facts(typical_side=side), {}).pretrained == pretrained


@pytest.mark.parametrize(
    ("side", "settings", "grow", "rate"),
    [
        (32, {}, 0.7, 0.14),
        (64, {}, 0.7, 0.14),
        (100, {}, 0.0, 0.07),
        (32, {"input_size": 24}, 0.0, 0.14),
        (32, {"recipe": "kuangliu-cifar10"}, 0.0, 0.1),
        (32, {"quantize_aware": "runs/a"}, 0.0, 0.14),
        (32, {"grow": 0.0}, 0.0, 0.14),
    ],
)
def test_many_small_images_grow_and_are_learnt_at_twice_the_rate(side, settings, grow, rate):
    recipe = default_recipe(facts(num_train=50_000, typical_side=side), {"batch_size": 64, **settings})
    assert (recipe.grow, recipe.learning_rate) == (grow, rate)


def test_few_small_images_are_learnt_at_the_careful_rate():
    assert default_recipe(facts(num_train=9_999, typical_side=32), {"batch_size": 64}).learning_rate == 0.07


def test_defaults_follow_what_is_set():
    recipe = default_recipe(facts(typical_side=500), {"input_size": "48", "optimizer": "adamw"})
    assert (recipe.stem, recipe.crop, recipe.learning_rate) == ("cifar", "pad", 2e-3)


def test_what_is_set_wins():
    recipe = default_recipe(
        facts(typical_side=32), {"crop": "none", "flip": "true", "batch_size": 7, "stem": "imagenet"}
    )
    assert (recipe.crop, recipe.flip, recipe.batch_size, recipe.stem) == ("none", True, 7, "imagenet")


def test_mirrored_digits_are_no_digits():
    assert not default_recipe(facts(flip_safe=False), {}).flip


@pytest.mark.parametrize(
    ("images", "side", "settings", "rate"),
    [
        (45_000, 32, {}, 8.0),
        (2_000, 32, {}, 1.0),
        (45_000, 224, {}, 1.0),
        (45_000, 32, {"optimizer": "adamw"}, 1.0),
        (45_000, 32, {"recipe": "article-mobilenet-v3"}, 1.0),
        (45_000, 32, {"bias_rate": 3}, 3.0),
    ],
)
def test_biases_learn_faster_where_that_was_measured(images, side, settings, rate):
    assert default_recipe(facts(num_train=images, typical_side=side), settings).bias_rate == rate


@pytest.mark.parametrize(
    ("flip_safe", "settings", "alternating"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"flip": False}, False),
        (True, {"alternating_flip": False}, False),
        (True, {"recipe": "article-mobilenet-v3"}, False),
    ],
)
def test_flips_alternate_in_our_own_recipe(flip_safe, settings, alternating):
    assert default_recipe(facts(flip_safe=flip_safe), settings).alternating_flip is alternating


def test_our_recipe_shifts_by_a_sixteenth_with_reflection_and_others_as_published():
    ours, others = (default_recipe(facts(), settings) for settings in ({}, {"recipe": "article-keras-shufflenet-v2"}))
    assert (ours.shift, ours.shift_fill) == (1 / 16, "reflect")
    assert (others.shift, others.shift_fill) == (1 / 8, "black")
    assert default_recipe(facts(), {"shift": 0.25}).shift == 0.25


def test_a_budget_of_time_replaces_the_epochs():
    recipe = default_recipe(facts(), {"time_s": 60.0})
    assert (recipe.time_s, recipe.epochs) == (60.0, 0)


def test_small_data_gets_small_batches_and_more_epochs():
    few, many = default_recipe(facts(num_train=100), {}), default_recipe(facts(num_train=1_000_000), {})
    assert (few.batch_size, few.epochs) == (16, 100)
    assert (many.batch_size, many.epochs) == (64, 10)


def test_an_unknown_field_lists_those_there_are():
    with pytest.raises(UsageError, match="learning_rate"):
        default_recipe(facts(), {"lr": 0.1})


def test_the_running_mean_of_a_short_run_is_short():
    assert default_recipe(facts(num_train=64), {"epochs": 10}).ema_decay == pytest.approx(0.75)
    assert default_recipe(facts(num_train=50_000), {}).ema_decay == 0.99
    assert default_recipe(facts(), {"time_s": 60.0}).ema_decay == 0.99
