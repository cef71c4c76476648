"""Stand-ins for YuNet and SFace: small ONNX files with their inputs and outputs, so that OpenCV's own classes run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FACE_CELLS = 3
"""Sides of a stand-in face, in cells of 32 pixels."""
_CELL = 32
_REACH = 0.35
_FEATURES = 128


def write_yunet(path: Path, *, side: int = 640) -> Path:
    """A detector for which a cell that is red is the middle of a face; everything else is none."""
    from onnx import TensorProto, helper

    outputs, nodes, weights = [], [], []
    # A blue or green face would be none: red less twice the others, in BGR.
    for stride in (8, 16, 32):
        cells = side // stride
        pooled = f"pooled_{stride}"
        nodes.append(
            helper.make_node(
                "AveragePool", ["input"], [pooled], kernel_shape=[stride, stride], strides=[stride, stride]
            )
        )
        for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            name = f"{kind}_{stride}"
            kernel, bias = _head(kind, width, coarse=stride == _CELL)
            weights += [_tensor(f"{name}_w", kernel), _tensor(f"{name}_b", bias)]
            weights.append(helper.make_tensor(f"{name}_shape", TensorProto.INT64, [3], [1, cells * cells, width]))
            nodes.append(helper.make_node("Conv", [pooled, f"{name}_w", f"{name}_b"], [f"{name}_map"]))
            last = f"{name}_map"
            if kind in ("cls", "obj"):
                nodes.append(helper.make_node("Sigmoid", [last], [f"{name}_sure"]))
                last = f"{name}_sure"
            nodes.append(helper.make_node("Transpose", [last], [f"{name}_rows"], perm=[0, 2, 3, 1]))
            nodes.append(helper.make_node("Reshape", [f"{name}_rows", f"{name}_shape"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, cells * cells, width]))
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side, side])]
    return _saved(path, nodes, (inputs, outputs), weights)


def write_sface(path: Path, seed: int = 0) -> Path:
    """An embedder that projects the coarse colours of an aligned face."""
    from onnx import TensorProto, helper

    rng = np.random.default_rng(seed)
    weights = [
        _tensor("mean", np.full((1, 3, 1, 1), 127.5, np.float32)),
        _tensor("project", (rng.standard_normal((3 * 14 * 14, _FEATURES)) / 100).astype(np.float32)),
    ]
    nodes = [
        helper.make_node("Sub", ["data", "mean"], ["centred"]),
        helper.make_node("AveragePool", ["centred"], ["coarse"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["coarse"], ["flat"]),
        helper.make_node("MatMul", ["flat", "project"], ["fc1"]),
    ]
    inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])]
    outputs = [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, _FEATURES])]
    return _saved(path, nodes, (inputs, outputs), weights)


def _head(kind: str, width: int, *, coarse: bool) -> tuple[Any, Any]:
    """Kernel (width, 3, 1, 1) and bias of one output; only the coarsest cells are ever sure."""
    kernel, bias = np.zeros((width, 3, 1, 1), np.float32), np.zeros(width, np.float32)
    if kind in ("cls", "obj"):
        kernel[0, :, 0, 0] = (-0.2, -0.2, 0.1)
        bias[0] = -10.0 if coarse else -100.0
    elif kind == "bbox":
        bias[:] = (0.5, 0.5, np.log(FACE_CELLS), np.log(FACE_CELLS))
    else:
        reach = _REACH * FACE_CELLS / 2
        for point, (x, y) in enumerate(((-1, -1), (1, -1), (0, 0), (-1, 1), (1, 1))):
            bias[2 * point : 2 * point + 2] = (0.5 + x * reach, 0.5 + y * reach)
    return kernel, bias


def _tensor(name: str, values: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.ascontiguousarray(values), name)


def _saved(path: Path, nodes: Sequence[Any], ends: tuple[list[Any], list[Any]], weights: Sequence[Any]) -> Path:
    import onnx
    from onnx import helper

    graph = helper.make_graph(list(nodes), path.stem, *ends, initializer=list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
