"""``featherlight profile``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featherlight.cli import completing
from featherlight.cli.options import Command, WholeNumbers, print_csv, print_json, print_table
from featherlight.errors import UsageError

if TYPE_CHECKING:
    from featherlight.cost.network_latency import MeasuredCost
    from featherlight.cost.result import Cost
    from featherlight.cost.units import UnitSize

EXAMPLES = """\b
Examples:
  featherlight profile shufflenet_v1_g3_x1_0
  featherlight profile runs/a --stages
  featherlight profile timm/mobilenetv3_small_050 --format csv > layers.csv
  featherlight profile shufflenet_v2_x0_5 --latency --batch 1,8 --threads 1,2
  featherlight profile --units --channels 256 --middle 128 --groups 32
  featherlight profile --units --channels 3 --middle 8 --groups 1 --height 5 --width 5 --kernel 2

\b
MODEL is a run directory, a model file, a network's name, or timm/NAME.
1 MAC is one multiply-add of a convolution, linear layer or attention. Papers on
light networks call it a FLOP, others count two FLOPs for it.
"""

_UNIT_OPTIONS = ("channels", "middle", "groups", "height", "width", "kernel")
_COLUMNS = {
    "name": "layer",
    "type": "type",
    "output": "output",
    "params": "params",
    "params_share": "params %",
    "macs": "MACs",
    "macs_share": "MACs %",
    "activation_bytes": "activation bytes",
    "activation_share": "activation %",
    "macs_per_byte": "MACs/byte",
}
_SHARES = ("params_share", "macs_share", "activation_share", "pointwise_share")


def _unit_option(name: str, what: str) -> Callable[[Command], Command]:
    return click.option(f"--{name}", type=click.IntRange(min=1), metavar="N", help=f"With --units: {what}")


@click.command("profile")
@click.argument("model", required=False, shell_complete=completing.model_or_network)
@click.option(
    "--input-size",
    type=click.IntRange(min=1),
    metavar="S",
    help="Side of the image in pixels.  [default: what the model is made for, else 224]",
)
@click.option(
    "--num-classes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Outputs of a network given by name.  [default: 1000]",
)
@click.option("--stages", is_flag=True, help="Stages only, without their layers.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True, help="Output."
)
@click.option("--latency", is_flag=True, help="Also measure here, with PyTorch on the processor.")
@click.option("--batch", type=WholeNumbers(), metavar="N,...", help="With --latency: images at a time.  [default: 1,8]")
@click.option(
    "--threads",
    type=WholeNumbers(),
    metavar="N,...",
    help="With --latency: threads.  [default: 1 and the number of cores]",
)
@click.option("--units", is_flag=True, help="In place of MODEL: what single units and convolutions cost.")
@_unit_option("channels", "c, channels of the input.  [default: 240]")
@_unit_option("middle", "m, channels of the 3x3; of a convolution's output.  [default: 120]")
@_unit_option("groups", "g.  [default: 3]")
@_unit_option("height", "h.  [default: 28]")
@_unit_option("width", "w.  [default: 28]")
@_unit_option("kernel", "K, of the single convolutions.  [default: 3]")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="With --units: a .png or .svg picture.")
def command(model: str | None, units: bool, form: str, **options: Any) -> None:
    """Count what MODEL costs, layer by layer: parameters, MACs, activations; and measure how fast it is here."""
    if units:
        _refuse(options, ("input_size", "num_classes", "stages", "latency", "batch", "threads"), "--units")
        if model is not None:
            raise UsageError("--units stands in place of MODEL; leave one out")
        _profile_units(form, options["plot"], {name: options[name] for name in _UNIT_OPTIONS})
        return
    if model is None:
        raise UsageError("name a MODEL, or give --units; `featherlight models` lists the networks")
    _refuse(options, (*_UNIT_OPTIONS, "plot"), "a MODEL; it needs --units")
    if form == "json":
        _refuse(options, ("stages",), "--format json, which lists layers")
    if options["latency"]:
        _profile_latency(model, form, options)
    else:
        _refuse(options, ("batch", "threads"), "counting alone; it needs --latency")
        _profile(model, form, options)


def _refuse(options: dict[str, Any], names: tuple[str, ...], beside: str) -> None:
    given = [name for name in names if options[name]]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')} does not go with {beside}")


def _profile(model: str, form: str, options: dict[str, Any]) -> None:
    from featherlight.workflows.profile import profile

    cost = profile(model, options["input_size"], num_classes=options["num_classes"])
    rows = cost.to_rows(cost.stages if options["stages"] else cost.layers)
    if form == "json":
        print_json(cost.to_dict())
    elif form == "csv":
        print_csv(rows)
    else:
        _print_cost(cost, options["stages"], _COLUMNS, cost.to_rows())


def _print_cost(cost: Cost, stages_only: bool, columns: dict[str, str], layers: list[dict[str, Any]]) -> None:
    from featherlight.cost.result import CONVENTION

    click.echo(f"{cost.model}: one image of {'x'.join(map(str, cost.input))}\n")
    if not stages_only:
        _print_rows(layers, columns)
        click.echo()
    _print_rows(cost.to_rows([*cost.stages, cost.total]), {**_COLUMNS, "name": "stage"})
    click.echo(
        f"\n{cost.params / 1e6:.2f} M parameters; {cost.macs / 1e6:.2f} M MACs, "
        f"{cost.macs_without_classifier / 1e6:.2f} M without the classifier; "
        f"{cost.activation_bytes / 1e6:.2f} MB activations"
    )
    click.echo(click.wrap_text(CONVENTION, width=110))


def _profile_latency(model: str, form: str, options: dict[str, Any]) -> None:
    from featherlight.workflows.profile import DEFAULT_BATCHES, profile_latency

    measured = profile_latency(
        model,
        options["input_size"],
        num_classes=options["num_classes"],
        batches=options["batch"] or DEFAULT_BATCHES,
        threads=options["threads"],
    )
    if form == "json":
        print_json(measured.to_dict())
    elif form == "csv":
        print_csv(measured.network_rows() if options["stages"] else measured.layer_rows())
    else:
        _print_measured(measured, options["stages"])


def _print_measured(measured: MeasuredCost, stages_only: bool) -> None:
    shown = ("name", "type", "output", "params", "macs", "macs_share", "activation_bytes", "macs_per_byte")
    columns = {name: _COLUMNS[name] for name in shown} | {
        "p50_ms": "p50 ms",
        "p95_ms": "p95 ms",
        "gmacs_per_s": "GMAC/s",
    }
    cost = measured.cost
    _print_cost(cost, stages_only, columns, measured.layer_rows())
    batch, threads = measured.layers_at
    total = sum(latency.p50_ms for latency in measured.layers.values())
    if not stages_only:
        click.echo(
            f"\nLayers: batch {batch}, threads {threads}. Timed one by one they add up to {total:.2f} ms; "
            f"as a whole the network takes {measured.networks[batch, threads].p50_ms:.2f} ms."
        )
    click.echo(f"\n{measured.machine}; PyTorch {measured.torch}, float32, channels last")
    rows = [
        {"MACs": batch * cost.macs, **row}
        for row, (batch, _) in zip(measured.network_rows(), measured.networks, strict=True)
    ]
    columns = {
        "batch": "batch",
        "threads": "threads",
        "MACs": "MACs",
        "p50_ms": "p50 ms",
        "p95_ms": "p95 ms",
        "low_ms": "lowest round",
        "high_ms": "highest round",
        "images_per_s": "images/s",
        "num_calls": "calls",
    }
    _print_rows(rows, columns)
    if any(row["high_ms"] > 1.2 * row["low_ms"] for row in rows):
        click.echo(
            "rounds differ by more than a fifth: something else was running; measure again when it is quiet", err=True
        )


def _profile_units(form: str, plot: Path | None, sizes: dict[str, int | None]) -> None:
    from featherlight.workflows.profile import profile_units

    size, costs = profile_units(plot, **{name: value for name, value in sizes.items() if value is not None})
    rows = [{"unit": cost.unit, **cost.to_dict()} for cost in costs]
    if form == "json":
        print_json({**size.to_dict(), "units": rows})
    elif form == "csv":
        print_csv(rows)
    else:
        _print_units(size, rows)
    if plot is not None:
        click.echo(f"plot  {plot}", err=True)


def _print_units(size: UnitSize, rows: list[dict[str, Any]]) -> None:
    letters = f"c = {size.channels}, m = {size.middle}, g = {size.groups}, h x w = {size.height} x {size.width}"
    click.echo(f"{letters}, K = {size.kernel}\n")
    columns = {
        "unit": "unit",
        "formula": "formula",
        "formula_macs": "by formula",
        "macs": "counted",
        "pointwise_share": "1x1 %",
        "params": "params",
        "activation_bytes": "activation bytes",
    }
    _print_rows(rows, columns)
    for row in rows:
        if row["note"]:
            click.echo(f"\n{row['unit']}: {row['note']}", nl=False)
    click.echo()


def _print_rows(rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    """A table under the columns' titles; shares as percentages."""
    shown = [
        {title: _percent(row[name]) if name in _SHARES else row[name] for name, title in columns.items()}
        for row in rows
    ]
    print_table(list(columns.values()), shown, decimals=2)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
