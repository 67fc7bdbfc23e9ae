"""Small panels, networks and fits for the tests; every draw from a seed."""

import hashlib
from functools import cache

import numpy as np
import torch

from lib.data.panel import Panel
from lib.data.splits import DataSplit, split_days
from lib.features import engineering, windows
from lib.models.config import ModelConfig
from lib.models.encoder_decoder import EncoderDecoder
from lib.models.lstm import LSTMForecaster
from lib.settings import ROOT
from lib.training import calibration, config, loop
from lib.training.data import prepare

DATA = ROOT / "tests" / "data"
TINY_MODEL = DATA / "tiny_model"
TINY_FORECAST = DATA / "tiny_forecast.json"
SEED_SERIES = ROOT.parent / "shared" / "data" / "seed_series.csv"
FIRST = np.datetime64("2022-01-01", "D")

MODEL = ModelConfig(horizon=7, hidden=8, decoder_hidden=8)
TRAINING = config.TrainingConfig(steps=20, batch_size=16, evaluate_every=5, validation_windows=32)


def panel_of(*columns, factor=None, event=None, first=FIRST):
    """A panel of the given values, one array a series; factor and event the same, or unknown."""
    lengths = [len(column) for column in columns]
    unknown = [np.full(n, np.nan) for n in lengths]
    start = np.array(first, dtype="datetime64[D]")  # a string or a day
    dates = [start + np.arange(n) for n in lengths]
    return Panel(
        ids=tuple(f"s{i}" for i in range(len(columns))),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        dates=np.concatenate(dates),
        values=np.concatenate(columns).astype(np.float64),
        factor=np.concatenate(unknown if factor is None else factor).astype(np.float64),
        event=np.concatenate(unknown if event is None else event).astype(np.float64),
    )


def lively_panel(days=300, series=2, seed=0, missing=0.05, level=100.0, covariates=True):
    """Weekly season, slow trend, noise, missing days; a factor and events that do something."""
    rng = np.random.default_rng(seed)
    t = np.arange(days)
    values, factors, events = [], [], []
    for _ in range(series):
        factor, event = rng.normal(5, 2, days), (rng.random(days) < 0.03).astype(float)
        value = level + 10 * np.sin(2 * np.pi * t / 7) + 0.05 * t + rng.normal(0, 3, days)
        value += (2 * (factor - 5) + 8 * event) * covariates
        value[rng.random(days) < missing] = np.nan
        values.append(value)
        factors.append(factor)
        events.append(event)
    if not covariates:
        return panel_of(*values)
    return panel_of(*values, factor=factors, event=events)


def split_of(panel, horizon=7) -> DataSplit:
    return split_days(panel, horizon=horizon, cutoffs=3, step=7, validation_days=28)


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
    future = windows.future_of(panel, origins, horizon, known=known)
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


@cache
def small_training():
    """(panel, spans, data, fit): one tiny calibrated fit that tests share and do not change."""
    panel = lively_panel()
    split = split_of(panel)
    data = prepare(panel, split, MODEL)
    fit = calibration.calibrate(loop.fit(data, MODEL, TRAINING), data)
    return panel, split, data, fit
