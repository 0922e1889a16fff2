"""From fitted numbers to an ONNX graph.

Input ``features`` FP32 [rows, 8]; outputs ``score`` (fraud probability) and ``confidence``
(0 at a score of one half, 1 at the ends), both FP32 [rows].
"""

from __future__ import annotations

import numpy as np
import onnx
from learning import Network
from onnx import TensorProto, helper, numpy_helper
from transactions import FEATURES, MERCHANT, Floats

OPSET = 17
IR_VERSION = 8
EXPANSION_WIDTH = 256


def build(
    network: Network,
    *,
    clip_codes: bool,
    expansion_rounds: int,
    metadata: dict[str, str],
) -> bytes:
    """A serialised model; the same arguments give the same bytes.

    Args:
        network: the fitted numbers.
        clip_codes: send merchant codes beyond the table to its last row. Without it such a row
            makes ``Gather`` fail at run time.
        expansion_rounds: rounds of computing a random feature basis that adds next to nothing
            to the score and a lot to the time of every call; 0 leaves it out.
        metadata: ``metadata_props``.
    """
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, Floats] = {
        "one": np.ones(1),
        "two": np.full(1, 2.0),
        "tails": network.scaling.tails,
        "plain": 1.0 - network.scaling.tails,
        "mean": network.scaling.mean,
        "std": network.scaling.std,
        "risk": network.risk,
        "w": network.direct_weights,
        "slope": np.array([network.slope]),
        "offset": np.array([network.offset]),
    }
    integers = {"merchant_column": np.array(MERCHANT), "first_code": np.array(0)}

    def add(op: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    add("Relu", ["features"], "not_negative")
    add("Add", ["not_negative", "one"], "shifted")
    add("Log", ["shifted"], "logged")
    add("Mul", ["logged", "tails"], "tail_part")
    add("Mul", ["features", "plain"], "plain_part")
    add("Add", ["tail_part", "plain_part"], "mixed")
    add("Sub", ["mixed", "mean"], "centred")
    add("Div", ["centred", "std"], "z")
    add("MatMul", ["z", "w"], "direct")
    add("Gather", ["features", "merchant_column"], "merchant", axis=1)
    code = add("Cast", ["merchant"], "code", to=TensorProto.INT64)
    if clip_codes:
        integers["last_code"] = np.array(len(network.risk) - 1)
        code = add("Clip", ["code", "first_code", "last_code"], "known_code")
    else:
        del integers["first_code"]
    add("Gather", ["risk", code], "merchant_risk", axis=0)
    total = add("Add", ["direct", "merchant_risk"], "linear")
    if network.output_weights.size:
        constants |= {
            "w1": network.hidden_weights,
            "b1": network.hidden_bias,
            "w2": network.output_weights,
        }
        add("MatMul", ["z", "w1"], "hidden_in")
        add("Add", ["hidden_in", "b1"], "hidden_sum")
        add("Tanh", ["hidden_sum"], "hidden")
        add("MatMul", ["hidden", "w2"], "bent")
        total = add("Add", [total, "bent"], "inner")
    if expansion_rounds:
        total = _expand(nodes, constants, integers, total, expansion_rounds)
    add("Mul", [total, "slope"], "scaled")
    add("Add", ["scaled", "offset"], "logit")
    add("Sigmoid", ["logit"], "score")
    add("Mul", ["score", "two"], "doubled")
    add("Sub", ["doubled", "one"], "signed")
    add("Abs", ["signed"], "confidence")

    initializers = [
        numpy_helper.from_array(np.asarray(value, dtype=np.float32), name)
        for name, value in constants.items()
    ] + [
        numpy_helper.from_array(np.asarray(value, dtype=np.int64), name)
        for name, value in integers.items()
    ]
    graph = helper.make_graph(
        nodes,
        "fraud",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", len(FEATURES)])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["rows"]),
            helper.make_tensor_value_info("confidence", TensorProto.FLOAT, ["rows"]),
        ],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    model.producer_name = "modelhandoff-examples"
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _expand(
    nodes: list[onnx.NodeProto],
    constants: dict[str, Floats],
    integers: dict[str, np.ndarray],
    total: str,
    rounds: int,
) -> str:
    """A random feature basis, turned ``rounds`` times by a rotation in every call of the model.

    The basis does not depend on the request and should have been stored; computing it costs the
    same for one row as for a whole batch. Its features join the score with a share so small that
    v3 answers like v2.
    """
    rng = np.random.default_rng(0)
    width = EXPANSION_WIDTH
    constants["basis_seed"] = rng.normal(0.0, 0.3, (len(FEATURES), width))
    # A rotation keeps the basis' length: no blow-up, no denormal numbers, however many rounds.
    constants["rotation"] = np.linalg.qr(rng.normal(0.0, 1.0, (width, width)))[0]
    constants["share"] = np.array([0.0005])
    integers["rounds"] = np.array(rounds)
    shape = [len(FEATURES), width]
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["basis_in", "rotation"], ["basis_out"]),
            helper.make_node("Identity", ["go_on_in"], ["go_on_out"]),
        ],
        "one_round",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("basis_in", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("go_on_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("basis_out", TensorProto.FLOAT, shape),
        ],
    )
    nodes += [
        helper.make_node("Loop", ["rounds", "", "basis_seed"], ["basis"], body=body),
        helper.make_node("MatMul", ["z", "basis"], ["projected"]),
        helper.make_node("Tanh", ["projected"], ["expansion"]),
        helper.make_node("ReduceMean", ["expansion"], ["expansion_mean"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["expansion_mean", "share"], ["expansion_share"]),
        helper.make_node("Add", [total, "expansion_share"], ["expanded"]),
    ]
    return "expanded"
