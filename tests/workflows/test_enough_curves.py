from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from featherlight.sources.findings.enough import Enough
from featherlight.workflows.enough_answer import Setting, conclude, too_few
from featherlight.workflows.enough_curves import Trial, class_gains, exponent, measure_curves, more_photos

SETTING = Setting(
    networks=(("small", 1000, 10_000), ("large", 4000, 35_000)), classes=("a", "b"), input_size=32, epochs=40,
    usual_epochs=40, seconds=10.0, budget_s=60.0, labels_judged=False, from_scratch=False,
)  # fmt: skip


def trial(small: list[float], large: list[float], held_out: int = 1000, doubted: float = 0.0, seed: int = 0) -> Trial:
    """Networks with these errors at 100, 200 and 400 images of two classes; the same images are hard for all."""
    labels = np.arange(held_out) % 2
    hardness = np.random.default_rng(seed).permutation(held_out) / held_out
    wrong = hardness < np.array([small, large])[:, :, None]
    named = np.where(wrong, 1 - labels, labels)
    suggested = np.where(hardness < doubted, 1 - labels, -1)
    train_accuracy = np.full((2, 3), 0.99)
    return Trial(np.array([100, 200, 400]), named, labels, suggested, train_accuracy, np.array([200, 200]))


def ask(*trials: Trial, **setting: object) -> Enough:
    return conclude(trials, replace(SETTING, **setting))


def test_exponent_of_a_power_law_is_found() -> None:
    errors = 3 * np.array([100, 200, 400.0]) ** -0.5
    assert exponent(errors) == pytest.approx(0.5)
    assert more_photos(errors) == pytest.approx(errors[-1] * (1 - 2**-0.5))


def test_curve_that_flattens_is_promised_no_more_than_the_last_doubling_brought() -> None:
    assert more_photos(np.array([0.4, 0.12, 0.1])) == pytest.approx(0.02)
    assert more_photos(np.array([0.3, 0.1, 0.12])) == 0.0
    assert more_photos(np.array([0.1, 0.2, 0.3])) == 0.0


def test_errors_that_vanish_are_no_problem() -> None:
    assert more_photos(np.zeros(3)) == 0.0
    assert more_photos(np.array([0.1, 0.01, 0.0])) == 0.0


def test_intervals_hold_what_other_held_out_images_would_say() -> None:
    """As the plain bootstrap of images says it."""
    one = trial([0.4, 0.3, 0.2], [0.4, 0.3, 0.15])
    curves = measure_curves([one])
    assert curves.errors == pytest.approx(np.array([[0.4, 0.3, 0.2], [0.4, 0.3, 0.15]]))
    gain = curves.bigger_network()
    deviation = np.std(one.wrong[0, -1].astype(float) - one.wrong[1, -1]) / np.sqrt(1000)
    assert (gain.gain, gain.low, gain.high) == pytest.approx(
        (0.05, 0.05 - 1.96 * deviation, 0.05 + 1.96 * deviation), abs=2e-3
    )


def test_repeats_that_disagree_widen_the_interval() -> None:
    alike = [trial([0.4, 0.3, 0.2], [0.4, 0.3, 0.2], seed=k) for k in range(4)]
    apart = [trial([0.4, 0.3, error], [0.4, 0.3, 0.2], seed=k) for k, error in enumerate((0.1, 0.3, 0.1, 0.3))]
    widths = [curves.more_photos().high - curves.more_photos().low for curves in map(measure_curves, (alike, apart))]
    assert widths[1] > 1.5 * widths[0]


def test_steep_curve_asks_for_photos() -> None:
    found = ask(trial([0.4, 0.28, 0.2], [0.4, 0.28, 0.2]))
    assert found.answer == "more_photos"
    assert found.sentence.startswith("More photos: twice as many would bring 5.9 points (")
    assert "a network with 3.5x the MACs brings 0.0 points" in found.sentence
    assert found.curves[0].exponent == pytest.approx(0.5)
    assert found.curves[0].forecast.images == 800
    assert found.curves[0].forecast.accuracy == pytest.approx(1 - 0.2 * 0.5**0.5, abs=0.003)
    assert [point.images for point in found.curves[0].points] == [100, 200, 400]


def test_flat_curve_below_that_of_a_larger_network_asks_for_it() -> None:
    found = ask(trial([0.31, 0.305, 0.3], [0.2, 0.17, 0.15]))
    assert found.answer == "bigger_network"
    assert found.sentence.startswith("A bigger network: one with 3.5x the MACs brings 15.0 points (")


def test_doubted_labels_that_cost_most_ask_for_cleaning() -> None:
    noisy = trial([0.3, 0.3, 0.3], [0.3, 0.3, 0.3], doubted=0.2)
    assert ask(noisy).answer == "unknown"
    assert "wrong labels have not been looked for: --labels" in ask(noisy).sentence
    found = ask(noisy, labels_judged=True)
    assert found.answer == "cleaner_labels"
    assert found.sentence.startswith("Cleaner labels: those that are doubted cost 20.0 points (")


def test_few_errors_that_nothing_makes_fewer_are_enough() -> None:
    found = ask(trial([0.012, 0.01, 0.01], [0.012, 0.01, 0.01]))
    assert found.answer == "enough"
    assert found.sentence.startswith("It is enough: 99.0 % are right; ")


def test_gain_that_may_be_luck_is_no_answer() -> None:
    assert ask(trial([0.3, 0.25, 0.225], [0.3, 0.25, 0.2], held_out=40)).answer == "unknown"


def test_networks_trained_too_little_say_nothing_but_how_long_it_takes() -> None:
    found = ask(trial([0.4, 0.28, 0.2], [0.4, 0.28, 0.2]), epochs=4)
    assert found.answer == "unknown"
    assert "10 % of the usual training; give about --time 10m" in found.sentence


def test_networks_that_learned_nothing_say_nothing() -> None:
    found = ask(trial([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]))
    assert found.answer == "unknown"
    assert "no network learned what the classes are" in found.sentence


def test_classes_whose_errors_fall_are_those_that_need_photos() -> None:
    one = trial([0.4, 0.28, 0.2], [0.4, 0.28, 0.2])
    named = one.named.copy()
    named[:, :, one.labels == 1] = 1  # the second class is always right
    skewed = Trial(one.sizes, named, one.labels, one.suggested, one.train_accuracy, np.array([100, 300]))
    accuracy, gain, sizes = class_gains([skewed])
    assert accuracy == pytest.approx([0.8, 1.0], abs=0.03)
    assert gain[0] > 0.04 > 0.005 > gain[1]
    assert sizes.tolist() == [100, 300]
    found = ask(skewed)
    assert [need.name for need in found.classes] == ["a", "b"]
    assert found.sentence.startswith("More photos, most of all of a: ")


def test_what_limits_the_answer_is_told() -> None:
    once = ask(trial([0.4, 0.28, 0.2], [0.4, 0.28, 0.2]), epochs=20, from_scratch=True)
    assert [text.split()[0] for text in once.caveats] == ["measured", "networks", "networks", "networks"]
    twice = ask(*[trial([0.4, 0.28, 0.2], [0.4, 0.28, 0.2], seed=k) for k in range(2)])
    assert twice.caveats == ("networks saw the images at 32 px",)
    assert (twice.repeats, twice.num_held_out) == (2, 2000)


def test_too_few_images_are_an_answer() -> None:
    found = too_few(7, "at least two classes of 10 images are needed", 60)
    assert found.answer == "more_photos"
    assert found.sentence.startswith(
        "More photos: 7 to train and validate on are too few to measure anything; at least"
    )


def test_unclear_answer_of_shortly_trained_networks_says_what_time_they_would_need() -> None:
    unclear = trial([0.2, 0.2, 0.2], [0.2, 0.2, 0.2], held_out=100)
    assert ask(unclear, epochs=20).sentence.endswith("--labels. With the usual training it may be: --time 2m.")
    assert "usual training" not in ask(unclear).sentence
