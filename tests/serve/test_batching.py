"""The threads that compute, with a real model and without HTTP."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from featherlight.predictor import Prediction
from featherlight.serve.batching import Batcher, Job
from featherlight.serve.loaded import Cost, Loaded, load
from featherlight.serve.metrics import Metrics
from featherlight.serve.settings import Settings

RED = np.array([250, 20, 20], np.uint8)


@pytest.fixture(scope="module")
def loaded(colour_model: Path) -> Loaded:
    return load(Settings(colour_model, threads=2))


class Answers:
    """Collects what jobs are given."""

    def __init__(self) -> None:
        self.given: dict[str, Prediction | Exception | None] = {}
        self._changed = threading.Condition()

    def job(self, model: Loaded, name: str, side: int = 8, top: int = 1, *, is_wanted: bool = True) -> Job:
        image = np.broadcast_to(RED, (side, side, 3))
        return Job(model, name, top, lambda: is_wanted, lambda outcome: self._take(name, outcome), image, side * side)

    def _take(self, name: str, outcome: Prediction | Exception | None) -> None:
        with self._changed:
            assert name not in self.given
            self.given[name] = outcome
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.given) == count, 30)


def make(loaded: Loaded, **options: object) -> tuple[Batcher, Metrics]:
    settings = {"threads": 2, "latency_target_s": 10.0, "max_pixels": 1000, **options}
    metrics = Metrics()
    return Batcher(Settings(loaded.path, **settings), metrics), metrics  # type: ignore[arg-type]


def put_all(batcher: Batcher, jobs: list[Job]) -> None:
    batcher.expect(len(jobs))
    for job in jobs:
        batcher.put(job)


def sample(metrics: Metrics, name: str) -> float:
    lines = metrics.render().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def test_what_is_ready_is_divided_among_threads_and_each_job_has_its_own_top(loaded: Loaded) -> None:
    batcher, metrics = make(loaded)
    answers = Answers()
    put_all(batcher, [answers.job(loaded, str(number), 4 + number % 3, 1 + number % 2) for number in range(10)])
    batcher.start()
    answers.wait_for(10)
    batcher.stop()
    for name, answer in answers.given.items():
        assert isinstance(answer, Prediction)
        assert (answer.path, answer.label, len(answer.top)) == (name, "red", 1 + int(name) % 2)
    assert sample(metrics, "featherlight_batch_images_sum") == 10
    assert sample(metrics, 'featherlight_batch_images_bucket{le="8.0"}') == sample(
        metrics, "featherlight_batch_images_count"
    )


@pytest.mark.parametrize(("engine", "copies"), [("onnxruntime", 1), ("openvino", 3)])
def test_threads_share_an_engine_only_where_it_can_be_called_by_several_at_once(
    colour_model: Path, engine: str, copies: int
) -> None:
    loaded = load(Settings(colour_model, engine=engine, threads=3))
    assert len(set(map(id, loaded.predictors))) == copies
    batcher, _ = make(loaded, threads=3, max_batch=2)
    answers = Answers()
    put_all(batcher, [answers.job(loaded, str(number)) for number in range(60)])
    batcher.start()
    answers.wait_for(60)
    batcher.stop()
    assert {answer.label for answer in answers.given.values() if isinstance(answer, Prediction)} == {"red"}


def test_largest_batch_is_what_the_latency_target_and_the_limit_allow(loaded: Loaded) -> None:
    batcher, _ = make(loaded, latency_target_s=0.1, max_batch=16)
    assert batcher._largest(Cost(0.0, 0.01)) == 10
    assert batcher._largest(Cost(0.05, 0.01)) == 5
    assert batcher._largest(Cost(0.0, 0.001)) == 16
    assert batcher._largest(Cost(1.0, 1.0)) == 1
    assert batcher.wait_for(40, Cost(0.0, 0.01)) == pytest.approx(0.2)  # two threads


def test_no_thread_waits_for_images_that_a_shared_batch_would_not_make_cheaper(loaded: Loaded) -> None:
    for cost, low, high in ((Cost(0.0, 1e-3), -1.0, 0.0), (Cost(5.0, 1e-3), 4.0, 5.0), (Cost(50.0, 1e-3), -99, 0.0)):
        batcher, _ = make(loaded)
        batcher.expect(2)
        batcher.put(Answers().job(Loaded(loaded.predictors, loaded.path, (), cost, 0.0), "a"))
        assert low <= batcher._seconds_to_wait() <= high


def test_nothing_is_waited_for_when_nothing_is_coming(loaded: Loaded) -> None:
    batcher, _ = make(loaded)
    put_all(batcher, [Answers().job(Loaded(loaded.predictors, loaded.path, (), Cost(5.0, 0.1), 0.0), "a")])
    assert batcher._seconds_to_wait() == 0


def test_slowness_is_learnt_and_one_huge_image_does_not_upset_it(loaded: Loaded) -> None:
    batcher, _ = make(loaded, latency_target_s=1.0, max_batch=1000)
    cost = Cost(0.0, 0.01)
    batcher._learn(100.0, cost, 1)
    assert batcher._largest(cost) > 85
    for _ in range(100):
        batcher._learn(0.04, cost, 1)
    assert batcher._largest(cost) in (25, 26)


def test_images_that_nobody_waits_for_are_not_computed(loaded: Loaded) -> None:
    batcher, metrics = make(loaded)
    answers = Answers()
    put_all(batcher, [answers.job(loaded, "a", is_wanted=False), answers.job(loaded, "b")])
    batcher.start()
    answers.wait_for(2)
    batcher.stop()
    assert answers.given["a"] is None
    assert isinstance(answers.given["b"], Prediction)
    assert sample(metrics, "featherlight_batch_images_sum") == 1


def test_image_that_cannot_be_computed_fails_alone(loaded: Loaded) -> None:
    batcher, _ = make(loaded, threads=1)
    answers = Answers()
    bad = answers.job(loaded, "bad")
    bad.image = np.zeros((8, 8, 4), np.uint8)  # a channel too many for the model
    put_all(batcher, [answers.job(loaded, "a"), bad, answers.job(loaded, "b")])
    batcher.start()
    answers.wait_for(3)
    batcher.stop()
    assert isinstance(answers.given["bad"], Exception)
    assert isinstance(answers.given["a"], Prediction)
    assert isinstance(answers.given["b"], Prediction)


def test_images_of_two_models_are_not_mixed(loaded: Loaded, colour_model: Path) -> None:
    other = load(Settings(colour_model, threads=2))
    batcher, _ = make(loaded, threads=1)
    answers = Answers()
    put_all(batcher, [answers.job(model, str(number)) for number, model in enumerate([loaded, loaded, other, loaded])])
    assert [[job.name for job in batcher._cut()] for _ in range(3)] == [["0", "1"], ["2"], ["3"]]


def test_decoding_waits_for_free_pixels_in_turn(loaded: Loaded) -> None:
    batcher, _ = make(loaded)
    assert batcher.claim(5000) == 1000  # one image may always be there
    order: list[str] = []

    def claim(name: str, pixels: int) -> None:
        batcher.claim(pixels)
        order.append(name)

    threads = [threading.Thread(target=claim, args=("large", 900))]
    threads[0].start()
    time.sleep(0.1)
    threads.append(threading.Thread(target=claim, args=("small", 100)))
    threads[1].start()
    batcher.hand_back(500)
    time.sleep(0.1)
    assert order == []  # the small one would fit, but it is not its turn
    batcher.hand_back(500)
    for thread in threads:
        thread.join(30)
    assert order == ["large", "small"]
