from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherlight.interop.keras_graph import construction_order, read_graph


def layer(name: str, kind: str, *inputs: str) -> dict[str, Any]:
    return {"class_name": kind, "name": name, "inbound_nodes": [[[i, 0, 0, {}] for i in inputs]] if inputs else []}


def model(*layers: dict[str, Any], kind: str = "Functional") -> dict[str, Any]:
    return {"class_name": kind, "config": {"layers": list(layers)}}


BRANCHES = model(
    layer("in", "InputLayer"),
    layer("right", "Conv2D", "in"),
    layer("left", "DepthwiseConv2D", "in"),
    layer("right_2", "BatchNormalization", "right"),
    layer("left_2", "Conv2D", "left"),
    layer("sum", "Concatenate", "left_2", "right_2"),
    layer("out", "Dense", "sum"),
)


def test_branches_follow_one_another_the_depthwise_one_first() -> None:
    order = construction_order(read_graph(BRANCHES))
    assert order == ["in", "left", "left_2", "right", "right_2", "sum", "out"]


def test_layers_without_weights_before_a_branch_do_not_hide_its_kind() -> None:
    graph = model(
        layer("in", "InputLayer"),
        layer("conv", "Conv2D", "in"),
        layer("pad", "ZeroPadding2D", "in"),
        layer("dw", "DepthwiseConv2D", "pad"),
        layer("sum", "Add", "dw", "conv"),
    )
    assert construction_order(read_graph(graph)) == ["in", "pad", "dw", "conv", "sum"]


def test_classes_are_named_as_keras_counts_them() -> None:
    kinds = {node.name: node.kind for node in read_graph(BRANCHES)}
    assert kinds["right"] == "conv2d"
    assert kinds["left"] == "depthwise_conv2d"
    assert kinds["right_2"] == "batch_normalization"


def test_keras_3_references_are_read() -> None:
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["a", 0, 0]}}
    b = {"class_name": "Dense", "name": "b", "inbound_nodes": [{"args": [[tensor]], "kwargs": {"mask": None}}]}
    assert read_graph(model(layer("a", "InputLayer"), b))[1].inputs == ("a",)


def test_references_within_arguments_of_operations_are_read() -> None:
    call = layer("cat", "TFOpLambda")
    call["inbound_nodes"] = [["a", 0, 0, {"values": [["b", 0, 0], ["a", 0, 0]], "axis": -1}]]
    nodes = read_graph(model(layer("a", "InputLayer"), layer("b", "Dense", "a"), call))
    assert set(nodes[2].inputs) == {"a", "b"}


def test_sequential_models_are_chains() -> None:
    layers = [{"class_name": "Dense", "config": {"name": name}} for name in "abc"]
    assert construction_order(read_graph(model(*layers, kind="Sequential"))) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({}, "lists no layers"),
        ({"config": {"layers": 3}}, "lists no layers"),
        ({"config": {"layers": ["a"]}}, "lists no layers"),
        (model({"class_name": "Dense"}), "has no name"),
        (model(layer("a", "Dense"), layer("a", "Dense")), "two layers of one name"),
    ],
)
def test_odd_configurations_are_refused(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_graph(config)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([layer("a", "ReLU", "b"), layer("b", "ReLU", "a")], "in a circle"),
        ([layer("in", "InputLayer"), layer("a", "Add", "in", "b"), layer("b", "ReLU", "a")], "in a circle"),
        ([layer("in", "InputLayer"), layer("a", "Conv2D", "in"), layer("b", "Conv2D", "in")], "begin with a conv2d"),
    ],
)
def test_graphs_without_one_order_are_refused(layers: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        construction_order(read_graph(model(*layers)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "config", "layers"]), inner),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(st.sampled_from(["name", "class_name", "config", "inbound_nodes"]), json_values)))
def test_any_configuration_gives_an_order_or_a_reason(layers: list[dict[str, Any]]) -> None:
    try:
        nodes = read_graph(model(*layers))
        assert sorted(construction_order(nodes)) == sorted(node.name for node in nodes)
    except ValueError as error:
        assert str(error)  # noqa: PT017


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.randoms())
def test_inputs_come_before_what_uses_them(count: int, random: Any) -> None:
    layers = [layer("0", "InputLayer")]
    for i in range(1, count):
        layers.append(layer(str(i), "Add", *{str(random.randrange(i)) for _ in range(2)}))
    nodes = read_graph(model(*layers))
    place = {name: at for at, name in enumerate(construction_order(nodes))}
    assert all(place[name] < place[node.name] for node in nodes for name in node.inputs)
