from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from featherlight.choosing import Limits
from featherlight.models.catalogue import list_models
from featherlight.sources import open_source
from featherlight.training.defaults import DataFacts
from featherlight.training.recipe import read_duration
from featherlight.workflows.choose_hopes import expected_top1, hope
from featherlight.workflows.choose_order import Order, check_order
from featherlight.workflows.choose_screen import count_starters, list_entries, screen
from featherlight.workflows.choose_state import State

PHOTOS = DataFacts("photos", 2_000, 100, True)
FEW = ["mobilenet_v1_x0_25", "mobilenet_v1_x1_0", "shufflenet_v1_g1_x1_0", "shufflenet_v1_g3_x1_0"]


def state_for(time: str, models: list[str], sizes: tuple[int, ...] = ()) -> State:
    order = check_order(Order("photos", Limits(), read_duration(time), tuple(models), tuple(sizes)))
    state = State(Path("nowhere"), order, "")
    list_entries(state, PHOTOS, 10)
    return state


def test_every_network_has_an_expected_accuracy() -> None:
    found = {name: expected_top1(name) for name in list_models()}
    assert all(0.4 < value < 0.8 for value in found.values())
    assert found["shufflenet_v1_g3_x1_0"] == 0.674
    assert found["shufflenet_v1_g3_x1_0"] < found["shufflenet_v1_g3_x1_5"] < found["shufflenet_v1_g3_x2_0"]


def test_plainnet_is_hoped_for_with_small_images_alone() -> None:
    assert expected_top1("plainnet_x1_0", 32) > expected_top1("mobilenet_v1_x1_0", 32)
    assert expected_top1("plainnet_x1_0", 96) < expected_top1("mobilenet_v1_x1_0", 96)


@given(st.floats(1, 1e6), st.integers(10**6, 10**9), st.integers(32, 320))
def test_hope_grows_with_time_and_with_smallness(time_s: float, macs: int, side: int) -> None:
    assert hope(0.7, macs, side, time_s) < hope(0.7, macs, side, 2 * time_s) < 0.7
    assert hope(0.7, macs, side, time_s) > hope(0.7, 2 * macs, side, time_s)


def test_little_time_prefers_small_networks_and_much_time_accurate_ones() -> None:
    assert next(iter(state_for("1m", FEW[:2]).entries)) == "mobilenet_v1_x0_25-96"
    assert next(iter(state_for("10h", FEW[:2]).entries)) == "mobilenet_v1_x1_0-96"


def test_a_network_that_another_beats_in_everything_comes_last() -> None:
    names = list(state_for("1h", FEW).entries)
    assert names[-1] == "shufflenet_v1_g1_x1_0-96"  # g=3 is more accurate, with fewer MACs and parameters


def test_image_sizes_are_candidates_of_their_own() -> None:
    entries = state_for("1h", FEW[:1], (96, 128)).entries
    assert set(entries) == {"mobilenet_v1_x0_25-96", "mobilenet_v1_x0_25-128"}
    small, large = entries["mobilenet_v1_x0_25-96"], entries["mobilenet_v1_x0_25-128"]
    assert small.macs < large.macs
    assert small.expected < large.expected
    assert small.params == large.params


def test_more_time_starts_more_networks() -> None:
    counts = []
    for time in ("20s", "4m", "2h"):
        state = state_for(time, [*FEW, "mobilenet_v1_x0_5", "shufflenet_v2_x0_5"])
        counts.append(count_starters(state, list(state.entries), PHOTOS.num_train))
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert counts[-1] >= 5


def test_of_many_images_a_network_must_see_more_before_it_is_judged() -> None:
    state = state_for("10m", [*FEW, "mobilenet_v1_x0_5", "shufflenet_v2_x0_5"])
    few, many = (count_starters(state, list(state.entries), num_train) for num_train in (1_000, 45_000))
    assert few > many >= 1


def test_when_the_time_is_over_nothing_more_is_measured(color_folder: Path, tmp_path: Path) -> None:
    state = state_for("20s", FEW)
    state.folder = tmp_path
    state.elapsed_s = 21.0
    screen(state, open_source(color_folder), PHOTOS, None)
    assert state.starters == []
    assert all(entry.latency_ms is None for entry in state.entries.values())
    assert {str(entry.dropped) for entry in state.entries.values()} == {
        "no time: it was over before this one was measured"
    }
