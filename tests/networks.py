"""Small networks for the tests, and their inputs as tensors."""

import hashlib

import numpy as np
import torch

from lib.features import engineering, windows
from lib.models.config import ModelConfig
from lib.models.encoder_decoder import EncoderDecoder
from lib.models.lstm import LSTMForecaster
from lib.training.config import TrainingConfig

MODEL = ModelConfig(horizon=7, hidden=8, decoder_hidden=8)
TRAINING = TrainingConfig(steps=20, batch_size=16, evaluate_every=5, validation_windows=32)


def network(seed=0, head=0.5, dtype_std=0.3, **settings) -> LSTMForecaster:
    """A network whose weights are all random: the head and the filter too, which start near 0."""
    torch.manual_seed(seed)
    shape = {"horizon": 7, "hidden": 8, "decoder_hidden": 8} | settings
    model = LSTMForecaster(ModelConfig.from_dict(shape))
    with torch.no_grad():
        for member in members(model):
            torch.nn.init.normal_(member.head.weight, std=head)
        torch.nn.init.normal_(model.filter, std=dtype_std)
    return model.eval()


def members(model) -> list[EncoderDecoder]:
    return [member for member in model.members if isinstance(member, EncoderDecoder)]


def inputs(panel, origins, horizon=7, days=175, known=True):
    """Tensors of forecast situations: features (n, days, 11), future (n, horizon, k)."""
    origins = np.asarray(origins)
    context = windows.gather_context(panel, engineering.compute_features(panel), origins, days)
    future = windows.known_future(panel, origins, horizon, with_covariates=known)
    return torch.from_numpy(context), torch.from_numpy(future)


def forecast(model, *tensors) -> np.ndarray:
    with torch.no_grad():
        return model(*tensors).numpy()


def weights_hash(model) -> str:
    """SHA-256 of all parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()
