from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import featherlight
from featherlight.cost.latency import machine_name, usable_cores
from featherlight.workflows.profile import profile_latency

Cli = Callable[..., Any]
SMALL = ("shufflenet_v2_x0_5", "--input-size", 32, "--num-classes", 10)


def table(text: str, first: str) -> list[list[str]]:
    """Cells of the table whose head starts with ``first``; columns are two spaces apart."""
    lines = text[text.index(f"{first}  ") :].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def test_json_has_the_contracts_keys(cli: Cli) -> None:
    answer = cli("profile", *SMALL, "--format", "json")
    assert (answer.code, answer.err) == (0, "")
    cost = json.loads(answer.out)
    assert cost == featherlight.profile("shufflenet_v2_x0_5", 32, num_classes=10).to_dict()
    assert list(cost) == ["model", "input", "total", "layers"]
    assert list(cost["total"]) == ["params", "macs", "macs_without_classifier", "activation_bytes"]
    keys = {"name", "type", "output", "params", "macs", "activation_bytes"}
    assert all(set(layer) == keys for layer in cost["layers"])
    assert all(sum(layer[key] for layer in cost["layers"]) == cost["total"][key] for key in ("params", "macs"))


def test_table_lists_layers_stages_total_and_convention(cli: Cli) -> None:
    answer = cli("profile", *SMALL)
    assert (answer.code, answer.err) == (0, "")
    cost = featherlight.profile("shufflenet_v2_x0_5", 32, num_classes=10)
    layers, stages = table(answer.out, "layer"), table(answer.out, "stage")
    assert [row[0] for row in layers[1:]] == [layer.name for layer in cost.layers]
    assert [row[0] for row in stages[1:]] == [*(stage.name for stage in cost.stages), "total"]
    assert stages[0][1:] == layers[0][1:]
    assert stages[-1][3] == f"{cost.params:,}"
    assert stages[-1][5:7] == [f"{cost.macs:,}", "100.00"]
    assert f"{cost.macs_without_classifier / 1e6:.2f} M without the classifier" in answer.out
    assert "1 MAC is one multiply-add" in answer.out


def test_csv_has_a_row_a_layer_with_shares_and_intensity(cli: Cli) -> None:
    rows = list(csv.DictReader(io.StringIO(cli("profile", *SMALL, "--format", "csv").out)))
    cost = featherlight.profile("shufflenet_v2_x0_5", 32, num_classes=10)
    assert [row["name"] for row in rows] == [layer.name for layer in cost.layers]
    assert sum(float(row["macs_share"]) for row in rows) == pytest.approx(1)
    assert float(rows[0]["macs_per_byte"]) == cost.layers[0].intensity
    assert rows[0]["output"] == "24x32x32"


def test_stages_alone(cli: Cli) -> None:
    answer = cli("profile", *SMALL, "--stages")
    assert "stage2.0" not in answer.out
    rows = list(csv.DictReader(io.StringIO(cli("profile", *SMALL, "--stages", "--format", "csv").out)))
    assert [row["name"] for row in rows][-3:] == ["conv5", "mean()", "fc"]


def test_run_directory_is_profiled(cli: Cli, tiny_run: Path) -> None:
    assert json.loads(cli("profile", tiny_run, "--format", "json").out)["input"] == [3, 16, 16]


def test_latency_stands_beside_the_macs_with_the_machines_name(
    cli: Cli, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(profile_latency.__kwdefaults__, "budget_s", 0.01)  # not two seconds for each number
    answer = cli("profile", tiny_run, "--latency", "--batch", "2,1", "--threads", "1")
    assert answer.code == 0
    head, *layers = table(answer.out, "layer")
    assert head[-3:] == ["p50 ms", "p95 ms", "GMAC/s"]
    assert all(float(row[-3]) <= float(row[-2]) for row in layers)
    head, *networks = table(answer.out, "batch")
    assert head[:5] == ["batch", "threads", "MACs", "p50 ms", "p95 ms"]
    macs = featherlight.profile(tiny_run).macs
    assert [row[:3] for row in networks] == [["2", "1", f"{2 * macs:,}"], ["1", "1", f"{macs:,}"]]
    assert machine_name() in answer.out


@pytest.mark.slow
def test_latency_as_json_adds_to_the_cost(cli: Cli, tiny_run: Path) -> None:
    options = ("--latency", "--batch", "1", "--threads", "1", "--format", "json")
    measured = json.loads(cli("profile", tiny_run, *options).out)
    latency = measured.pop("latency")
    assert measured == featherlight.profile(tiny_run).to_dict()
    assert (latency["machine"], latency["layers_batch"], latency["layers_threads"]) == (machine_name(), 1, 1)
    (row,) = latency["networks"]
    assert {"batch", "threads", "p50_ms", "p95_ms", "images_per_s"} <= set(row)
    assert [layer["name"] for layer in latency["layers"]] == [layer["name"] for layer in measured["layers"]]


def test_units_are_shown_by_formula_and_as_counted(cli: Cli) -> None:
    answer = cli("profile", "--units", "--channels", 256, "--middle", 128, "--groups", 32)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("c = 256, m = 128, g = 32, h x w = 28 x 28, K = 3\n")
    rows = {row[0]: row[1:] for row in table(answer.out, "unit")}
    assert rows["ResNeXt"] == ["hw(2cm + 9m²/g)", "54,992,896", "54,992,896", "93.43", "71,168", "5,619,712"]
    assert rows["ShuffleNet, stride 2, usual formula"][1:3] == ["1,430,016", "1,229,312"]
    assert "ignores the concatenation" in answer.out


def test_articles_2400_and_900_multiplications(cli: Cli) -> None:
    sizes = ("--channels", 3, "--middle", 8, "--groups", 1, "--height", 5, "--width", 5, "--kernel", 2)
    units = json.loads(cli("profile", "--units", *sizes, "--format", "json").out)
    assert (units["channels"], units["kernel"]) == (3, 2)
    macs = {row["unit"]: (row["formula_macs"], row["macs"]) for row in units["units"]}
    assert macs["convolution"] == (2400, 2400)
    assert macs["depthwise separable convolution"] == (900, 900)


def test_units_as_csv_and_plot(cli: Cli, tmp_path: Path) -> None:
    answer = cli("profile", "--units", "--format", "csv", "--plot", tmp_path / "units.svg")
    assert answer.err == f"plot  {tmp_path}/units.svg\n"
    assert len(list(csv.DictReader(io.StringIO(answer.out)))) == 8
    assert "<svg" in (tmp_path / "units.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a MODEL, or give --units"),
        (["shufflenet_v2_x0_5", "--units"], "--units stands in place of MODEL"),
        (["shufflenet_v2_x0_5", "--channels", "3"], "--channels does not go with a MODEL; it needs --units"),
        (["shufflenet_v2_x0_5", "--plot", "a.png"], "--plot does not go with a MODEL"),
        (["shufflenet_v2_x0_5", "--batch", "8"], "--batch does not go with counting alone; it needs --latency"),
        (["shufflenet_v2_x0_5", "--stages", "--format", "json"], "--stages does not go with --format json"),
        (["--units", "--latency"], "--latency does not go with --units"),
        (["--units", "--input-size", "32"], "--input-size does not go with --units"),
        (["--units", "--groups", "7"], "channels is 240, which 7 groups do not divide"),
        (["--units", "--plot", "a.pdf"], "a.pdf: the plot can be a .png or an .svg file"),
        (["shufflenet_v2_x0_5", "--latency", "--batch", "1,x"], "'1,x' is no list of whole numbers"),
        (["shufflenet_v2_x0_5", "--latency", "--threads", str(usable_cores() + 1)], "threads cannot be measured here"),
        (["shufflenet_v2_x0_5", "--input-size", "8"], "input_size is 8"),
        (["resnet"], "there is no network named 'resnet'"),
        (["runs/none"], "runs/none: no such run directory or model file"),
    ],
)
def test_wrong_arguments_are_explained(cli: Cli, arguments: list[str], message: str) -> None:
    answer = cli("profile", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    assert message in answer.err
    assert len(answer.err.splitlines()) <= 2
