from __future__ import annotations

from featherlight.cost.result import Cost, Layer


def layer(name: str, macs: int, params: int = 0, output: tuple[int, ...] = (4,)) -> Layer:
    return Layer(name, "Conv2d", output, params, macs, activation_bytes=8, moved_bytes=16)


def cost(*layers: Layer) -> Cost:
    return Cost("network", (3, 8, 8), layers, macs_without_classifier=0)


def test_stages_are_the_top_level_children_in_order() -> None:
    stages = cost(layer("stem", 30), layer("body.0", 30, 2), layer("body.1", 30, 3, (5,)), layer("mean()", 0)).stages
    assert [(one.name, one.type, one.macs, one.params, one.output) for one in stages] == [
        ("stem", "Conv2d", 30, 0, (4,)),
        ("body", "2 layers", 60, 5, (5,)),
        ("mean()", "Conv2d", 0, 0, (4,)),
    ]
    assert (stages[1].activation_bytes, stages[1].moved_bytes) == (16, 32)


def test_child_with_nearly_all_macs_is_opened_in_its_place() -> None:
    stages = cost(
        layer("stem", 1), layer("m.body.0.a", 40), layer("m.body.0.b", 9), layer("m.body.1", 50), layer("fc", 1)
    )
    assert [(one.name, one.macs) for one in stages.stages] == [
        ("stem", 1),
        ("m.body.0", 49),
        ("m.body.1", 50),
        ("fc", 1),
    ]


def test_layer_with_all_macs_stays_one_stage() -> None:
    assert [one.name for one in cost(layer("a", 5)).stages] == ["a"]
    assert [one.name for one in cost(layer("a.b", 0), layer("a.c", 0)).stages] == ["a"]


def test_totals_and_shares_add_up() -> None:
    counted = cost(layer("a", 30, 1), layer("b", 10, 3))
    assert (counted.params, counted.macs, counted.activation_bytes) == (4, 40, 16)
    assert counted.total.intensity == 40 / 32
    rows = counted.to_rows()
    assert [row["macs_share"] for row in rows] == [0.75, 0.25]
    assert [row["params_share"] for row in rows] == [0.25, 0.75]
    assert [row["activation_share"] for row in rows] == [0.5, 0.5]
    assert rows[0]["macs_per_byte"] == 30 / 16


def test_json_has_the_contracts_keys_and_no_others() -> None:
    assert cost(layer("a", 30, 1, (24, 8, 8))).to_dict() == {
        "model": "network",
        "input": [3, 8, 8],
        "total": {"params": 1, "macs": 30, "macs_without_classifier": 0, "activation_bytes": 8},
        "layers": [
            {
                "name": "a",
                "type": "Conv2d",
                "output": [24, 8, 8],
                "params": 1,
                "macs": 30,
                "activation_bytes": 8,
            }
        ],
    }
