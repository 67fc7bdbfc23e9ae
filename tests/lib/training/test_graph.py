"""The exported graph after it was made leaner: the same numbers from fewer standard operations."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from lib.features import FEATURES, FUTURE
from lib.models import LSTMForecaster, ModelConfig
from lib.training import export
from lib.training.graph import count_operations, simplify_graph

SHAPES = {
    "one member": {},
    "three members": {"members": 3},
    "two layers": {"layers": 2},
    "GRU": {"cell": "gru"},
    "both directions": {"bidirectional": True},
    "attention": {"attention": True, "layer_norm": True},
}


def windows(batch, days, horizon):
    generator = np.random.default_rng(days)
    features = 100 + 5 * generator.normal(size=(batch, days, len(FEATURES)))
    features[generator.random(features.shape) < 0.05] = np.nan
    return features, generator.normal(size=(batch, horizon, len(FUTURE)))


def run(path, features, future):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"features": features, "future": future})[0]


@pytest.fixture(params=SHAPES)
def graphs(request, tmp_path, monkeypatch):
    """A network, its graph as the exporter writes it, and the leaner one."""
    torch.manual_seed(0)
    config = ModelConfig.from_dict({"horizon": 14, "max_context": 90} | SHAPES[request.param])
    model = LSTMForecaster(config).eval()
    plain, lean = tmp_path / "plain.onnx", tmp_path / "lean.onnx"
    example = windows(2, 90, 14)
    export.export_onnx(lean, model, *example)
    monkeypatch.setattr(export, "simplify_graph", lambda path: None)
    export.export_onnx(plain, model, *example)
    return model, plain, lean


def test_leaner_graph_gives_the_same_numbers_for_any_batch_and_context(graphs):
    model, plain, lean = graphs
    for batch, days in ((1, 60), (3, 75), (5, 90)):
        inputs = windows(batch, days, 14)
        found = run(lean, *inputs)
        assert np.allclose(found, run(plain, *inputs), rtol=1e-9, atol=1e-9)
        with torch.no_grad():
            expected = model(*map(torch.from_numpy, inputs)).numpy()
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_leaner_graph_has_half_the_operations_and_no_constant_among_them(graphs):
    _, plain, lean = graphs
    before, after = count_operations(plain), count_operations(lean)
    assert after.total() <= 0.55 * before.total()
    assert after["Constant"] == 0
    assert after["Shape"] < before["Shape"]


def test_leaner_graph_is_of_the_standard_alone_and_keeps_its_names(graphs):
    _, plain, lean = graphs
    before, after = onnx.load(plain), onnx.load(lean)
    assert {node.domain for node in after.graph.node} == {""}
    assert after.opset_import == before.opset_import
    for part in ("input", "output"):
        old, new = getattr(before.graph, part), getattr(after.graph, part)
        assert [value.name for value in new] == [value.name for value in old]
        assert [v.type.tensor_type.elem_type for v in new] == [
            v.type.tensor_type.elem_type for v in old
        ]


def test_states_that_are_not_zero_stay(tmp_path):
    class Started(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = torch.nn.LSTM(2, 3, batch_first=True)

        def forward(self, features, future):
            first = torch.ones(1, features.shape[0], 3)
            outputs, _ = self.cell(features, (first, first))
            return outputs[:, -1] + future

    torch.manual_seed(0)
    model: Any = Started().eval()
    path = tmp_path / "model.onnx"
    features, future = torch.randn(2, 5, 2), torch.randn(2, 3)
    export.export_onnx(path, model, features.numpy(), future.numpy())
    simplify_graph(path)  # once more changes nothing
    with torch.no_grad():
        expected = model(features, future).numpy()
    assert np.allclose(run(path, features.numpy(), future.numpy()), expected, atol=1e-6)
