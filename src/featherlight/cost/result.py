"""The result of counting: layers, stages and totals. Plain data, so it works without torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

CONVENTION = (
    "1 MAC is one multiply-add of a convolution, linear layer or attention; norms, activations, pooling, additions "
    "and shuffles count none. Activations are the bytes of the tensors a layer computes for one image; views are "
    "free. MACs/byte: input, weights and output each moved once."
)

_OPENED_ABOVE = 0.8  # a stage with a larger share of the MACs says little; its children do


@dataclass(frozen=True)
class Layer:
    """The cost of one layer, or of a stage of them, for one image.

    Attributes:
        name: the module's name; ``name.op()`` for an operator that a module with children runs itself.
        type: class of the module, or the operator.
        output: shape of what it gives, without the batch; empty for a layer that did not run.
        params: parameters that no earlier layer used.
        macs: multiply-adds.
        activation_bytes: size of the tensors it computes.
        moved_bytes: inputs, weights and outputs, each once.
    """

    name: str
    type: str
    output: tuple[int, ...]
    params: int
    macs: int
    activation_bytes: int
    moved_bytes: int

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: multiply-adds for each byte moved."""
        return self.macs / self.moved_bytes if self.moved_bytes else 0.0


@dataclass(frozen=True)
class Cost:
    """What a network costs for one image; see ``CONVENTION``.

    Attributes:
        model: name, path or class of the network.
        input: (channels, height, width).
        layers: in the order in which they ran; layers that did not run stand last.
        macs_without_classifier: ``macs`` without the fully connected layers at the end.
    """

    model: str
    input: tuple[int, int, int]
    layers: tuple[Layer, ...]
    macs_without_classifier: int

    @property
    def total(self) -> Layer:
        """All layers as one."""
        return _join("total", self.layers)

    @property
    def params(self) -> int:
        """Parameters."""
        return self.total.params

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        return self.total.macs

    @property
    def activation_bytes(self) -> int:
        """Size of the tensors that all layers compute."""
        return self.total.activation_bytes

    @property
    def stages(self) -> tuple[Layer, ...]:
        """The network's top-level children as one row each; one with over 80 % of the MACs is opened."""
        return tuple(_stages(self.layers, 1, self.macs * _OPENED_ABOVE))

    def to_dict(self) -> dict[str, Any]:
        """What ``profile --format json`` prints."""
        keys = ("name", "type", "output", "params", "macs", "activation_bytes")
        return {
            "model": self.model,
            "input": list(self.input),
            "total": {
                "params": self.params,
                "macs": self.macs,
                "macs_without_classifier": self.macs_without_classifier,
                "activation_bytes": self.activation_bytes,
            },
            "layers": [{key: _plain(getattr(layer, key)) for key in keys} for layer in self.layers],
        }

    def to_rows(self, layers: Sequence[Layer] | None = None) -> list[dict[str, Any]]:
        """Rows for a table: every field of ``layers`` (by default all), with shares of the total and intensity."""
        total = self.total
        return [
            {
                "name": layer.name,
                "type": layer.type,
                "output": "x".join(map(str, layer.output)),
                "params": layer.params,
                "params_share": _share(layer.params, total.params),
                "macs": layer.macs,
                "macs_share": _share(layer.macs, total.macs),
                "activation_bytes": layer.activation_bytes,
                "activation_share": _share(layer.activation_bytes, total.activation_bytes),
                "macs_per_byte": layer.intensity,
            }
            for layer in (self.layers if layers is None else layers)
        ]


def _join(name: str, layers: Sequence[Layer]) -> Layer:
    if len(layers) == 1:
        return layers[0]
    ran = [layer.output for layer in layers if layer.output]
    return Layer(
        name=name,
        type=f"{len(layers)} layers",
        output=ran[-1] if ran else (),
        params=sum(layer.params for layer in layers),
        macs=sum(layer.macs for layer in layers),
        activation_bytes=sum(layer.activation_bytes for layer in layers),
        moved_bytes=sum(layer.moved_bytes for layer in layers),
    )


def _stages(layers: Iterable[Layer], depth: int, opened_above: float) -> list[Layer]:
    groups: dict[str, list[Layer]] = {}
    for layer in layers:
        groups.setdefault(".".join(layer.name.split(".")[:depth]), []).append(layer)
    stages = []
    for name, members in groups.items():
        stage = _join(name, members)
        can_open = len(members) > 1 and stage.macs > opened_above
        stages += _stages(members, depth + 1, opened_above) if can_open else [stage]
    return stages


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
