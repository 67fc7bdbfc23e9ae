"""Make an exported graph leaner: the same numbers from fewer operations.

A window alone costs about half a microsecond an operation, whatever the operation does. What the
exporter writes has constants as operations, takes sizes that are known from tensors, and passes
zeros as the first states of a recurrence.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

_REDUCTIONS = {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"}


def simplify_graph(path: Path) -> None:
    """Rewrite an ONNX file in place; inputs, outputs and their meaning stay.

    What is left are operations of the ONNX standard: nothing is fused for one processor.
    """
    model = _fold_constants(path)
    for _ in range(2):  # the second round sees what the first has opened
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        graph = _Graph(model)
        for simplify in (_use_known_sizes, _expand_plainly, _start_at_zero, _take_last_state):
            simplify(graph)
        _keep_dimensions(graph)
        graph.clean()
    model = onnx.shape_inference.infer_shapes(model)
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _fold_constants(path: Path) -> onnx.ModelProto:
    """Return the graph with constants folded and what is computed twice merged."""
    before = onnx.load(path)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "model.onnx")
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath)
    # ONNX Runtime names its own sets of operations, of which this level uses none.
    model.ir_version = before.ir_version
    del model.opset_import[:]
    model.opset_import.extend(before.opset_import)
    del model.metadata_props[:]
    return model


class _Graph:
    """A graph with what is looked up in it again and again."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.proto = model.graph
        self.constants = {c.name: numpy_helper.to_array(c) for c in self.proto.initializer}
        self.producer = {name: node for node in self.proto.node for name in node.output}
        self.outputs = {output.name for output in self.proto.output}
        self.sizes = {
            value.name: [
                size.dim_value if size.HasField("dim_value") else None
                for size in value.type.tensor_type.shape.dim
            ]
            for value in (*self.proto.value_info, *self.proto.input)
            if value.type.tensor_type.HasField("shape")
        }

    def of(self, op: str) -> list[onnx.NodeProto]:
        """Return the operations of a kind."""
        return [node for node in self.proto.node if node.op_type == op]

    def source(self, name: str, op: str) -> onnx.NodeProto | None:
        """Return the operation that a tensor comes from, if it is of this kind."""
        node = self.producer.get(name)
        return node if node is not None and node.op_type == op else None

    def users(self, name: str) -> list[onnx.NodeProto]:
        """Return the operations that take a tensor."""
        return [node for node in self.proto.node if name in node.input]

    def add_constant(self, values: np.ndarray) -> str:
        """Add a constant, and return its name."""
        for name, known in self.constants.items():
            if known.dtype == values.dtype and np.array_equal(known, values):
                return name
        name = f"constant_{len(self.constants)}"
        self.constants[name] = values
        self.proto.initializer.append(numpy_helper.from_array(values, name))
        return name

    def replace(self, name: str, by: str) -> None:
        """Let whatever takes one tensor take another; an output of the graph stays."""
        for node in self.proto.node:
            for i, taken in enumerate(node.input):
                if taken == name:
                    node.input[i] = by

    def clean(self) -> None:
        """Remove operations and constants that nothing takes."""
        while True:
            taken = {name for node in self.proto.node for name in node.input} | self.outputs
            unused = [node for node in self.proto.node if not taken & set(node.output)]
            if not unused:
                break
            for node in unused:
                self.proto.node.remove(node)
        for constant in [c for c in self.proto.initializer if c.name not in taken]:
            self.proto.initializer.remove(constant)


def _use_known_sizes(graph: _Graph) -> None:
    """Replace sizes that are taken from a tensor, but are known, by constants."""
    for node in graph.of("Gather"):
        shape = graph.source(node.input[0], "Shape")
        index = graph.constants.get(node.input[1])
        if shape is None or index is None:
            continue
        if _attribute(shape, "start") or _attribute(shape, "end") is not None:
            continue
        sizes = graph.sizes.get(shape.input[0])
        found = None if sizes is None else [sizes[int(i)] for i in index.ravel()]
        if found is not None and None not in found:
            values = np.array(found, dtype=np.int64).reshape(index.shape)
            graph.replace(node.output[0], graph.add_constant(values))


def _expand_plainly(graph: _Graph) -> None:
    """Expand to 1 where the exporter writes -1 and then replaces it by 1."""
    for node in graph.of("Expand"):
        where = graph.source(node.input[1], "Where")
        if where is None or (equal := graph.source(where.input[0], "Equal")) is None:
            continue
        minus = graph.constants.get(equal.input[1])
        ones = graph.constants.get(where.input[1])
        sizes = where.input[2]
        if (reshape := graph.source(sizes, "Reshape")) is not None:
            sizes = reshape.input[0]
        joined = graph.source(sizes, "Concat")
        if minus is None or ones is None or joined is None or equal.input[0] != where.input[2]:
            continue
        if not ((minus == -1).all() and (ones == 1).all()):
            continue
        one = graph.add_constant(np.array([1], dtype=np.int64))
        for i, part in enumerate(joined.input):
            known = graph.constants.get(part)
            if known is not None and known.size == 1 and known.item() == -1:
                joined.input[i] = one
        node.input[1] = joined.output[0]


def _start_at_zero(graph: _Graph) -> None:
    """Leave out the first states of a recurrence where they are zeros, as they are by default."""
    for node in (*graph.of("LSTM"), *graph.of("GRU")):
        for i in range(5, len(node.input)):
            zeros = graph.source(node.input[i], "ConstantOfShape")
            if zeros is None and (expand := graph.source(node.input[i], "Expand")) is not None:
                known = graph.constants.get(expand.input[0])
                is_zero = known is not None and not known.any()
            else:
                is_zero = zeros is not None and not any(
                    numpy_helper.to_array(a.t).any() for a in zeros.attribute
                )
            if is_zero:
                node.input[i] = ""
        while node.input and node.input[-1] == "":
            del node.input[-1]


def _take_last_state(graph: _Graph) -> None:
    """Take the last output of a recurrence from where it is given, not out of all of them."""
    for squeeze in graph.of("Squeeze"):
        node = graph.producer.get(squeeze.input[0])
        if node is None or node.op_type not in ("LSTM", "GRU"):
            continue
        if node.output[0] != squeeze.input[0] or _attribute(node, "direction") == b"reverse":
            continue
        users = graph.users(squeeze.output[0])
        last = [user for user in users if _is_last_of_first_axis(graph, user)]
        if not last or len(last) < len(users):
            continue
        while len(node.output) < 2:
            node.output.append("")
        if not node.output[1]:
            node.output[1] = f"{node.output[0]}_last"
        first_axis = graph.add_constant(np.array([0], dtype=np.int64))
        squeeze.input[0], squeeze.input[1] = node.output[1], first_axis
        for user in last:
            graph.replace(user.output[0], squeeze.output[0])
        if not graph.users(node.output[0]):
            node.output[0] = ""


def _is_last_of_first_axis(graph: _Graph, node: onnx.NodeProto) -> bool:
    index = graph.constants.get(node.input[1]) if node.op_type == "Gather" else None
    return index is not None and index.shape == () and index == -1 and not _attribute(node, "axis")


def _keep_dimensions(graph: _Graph) -> None:
    """Have a reduction keep its axis where all that takes its result adds it again."""
    for op in _REDUCTIONS:
        for node in graph.of(op):
            axes = graph.constants.get(node.input[1]) if len(node.input) > 1 else None
            sizes = graph.sizes.get(node.input[0])
            users = graph.users(node.output[0])
            if _attribute(node, "keepdims") != 0 or axes is None or sizes is None or not users:
                continue
            if axes.size != 1 or node.output[0] in graph.outputs:
                continue
            axis = int(axes.item()) % len(sizes)
            if all(_adds_axis(graph, user, axis, len(sizes)) for user in users):
                for attribute in node.attribute:
                    if attribute.name == "keepdims":
                        attribute.i = 1
                for user in users:
                    graph.replace(user.output[0], node.output[0])


def _adds_axis(graph: _Graph, node: onnx.NodeProto, axis: int, rank: int) -> bool:
    added = graph.constants.get(node.input[1]) if node.op_type == "Unsqueeze" else None
    if added is None or added.size != 1 or node.output[0] in graph.outputs:
        return False
    return int(added.item()) % rank == axis


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    """Return an attribute of an operation; None where it has no such one."""
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return values.get(name)


def count_operations(path: Path) -> Counter[str]:
    """Return how often a graph has each operation."""
    return Counter(node.op_type for node in onnx.load(path).graph.node)
