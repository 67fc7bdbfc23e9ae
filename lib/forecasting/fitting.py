"""Make a served model from a panel: choose settings and fit, or take the pretrained network."""

from __future__ import annotations

from pathlib import Path

import structlog

from lib.data import WINDOW_DAYS, DataSplit, Panel, split_without_test, to_table
from lib.inference import ServedModel
from lib.pipeline import ParameterError, profile_values

INSTANT, REGISTERED = "instant", "registered"
log = structlog.get_logger()


def make_model(
    panel: Panel,
    folder: Path,
    *,
    effort: str,
    horizon: int,
    seed: int,
    split: DataSplit | None = None,
    progress: bool = False,
) -> ServedModel:
    """Make the model of an effort and write its artifact.

    Args:
        panel: the history.
        folder: of the artifact.
        effort: "instant", or the name of a profile.
        horizon: days ahead.
        seed: of the search, of initial weights, batches and dropout.
        split: of the days of `panel`; by default all days are for training and validation.
        progress: whether to show bars on standard error.

    Raises:
        ParameterError: there is no such profile.
        SeriesError: too little history to train on.
    """
    if effort == INSTANT:
        return take_pretrained(panel, folder, horizon=horizon, seed=seed, split=split)
    split = split or split_without_test(panel, horizon=horizon)
    return choose_and_fit(
        panel, split, folder, profile=effort, horizon=horizon, seed=seed, progress=progress
    )


def take_pretrained(
    panel: Panel, folder: Path, *, horizon: int, seed: int = 0, split: DataSplit | None = None
) -> ServedModel:
    """Write the artifact of the pretrained network, calibrated on the last days where it can be.

    With a split, nothing after its `validation_end` is looked at.
    """
    from lib.training import save_zero_shot

    if split is None:
        last = panel.dates.max()
        split = DataSplit(last, last, last)
    return save_zero_shot(folder, panel, split, horizon=horizon, seed=seed)


def choose_and_fit(
    panel: Panel,
    split: DataSplit,
    folder: Path,
    *,
    profile: str,
    horizon: int,
    seed: int,
    progress: bool = False,
) -> ServedModel:
    """Search settings and fit with the best, as the notebooks do, and write the artifact.

    One worker searches, so that the same data, profile and seed give the same bits.
    """
    from lib import training, tuning
    from lib.models import ModelConfig

    values = profile_values(profile, {"HORIZON": str(horizon), "SEED": str(seed)})
    search, final = values["02_tuning"], values["03_training"]
    folder.mkdir(parents=True, exist_ok=True)
    series = folder / "search.parquet"
    to_table(panel).to_parquet(series)
    job = tuning.plan(
        series,
        panel,
        split,
        ModelConfig(
            horizon=horizon,
            context_length=search["CONTEXT_LENGTH"],
            max_context=search["MAX_CONTEXT"],
        ),
        training.TrainingConfig(
            seed=seed, pretrained=search["PRETRAINED"], level_shift_prob=search["CHANGES"]
        ),
        trials=search["N_TRIALS"],
        trial_steps=search["TRIAL_STEPS"],
        storage=f"sqlite:///{(folder / 'search.db').resolve()}",
        repeatable=True,
    )
    tuned = tuning.write_result(folder, tuning.tune(job, workers=1, progress=progress), job)
    config = ModelConfig.from_dict(tuned["model"] | {"members": final["MEMBERS"]})
    settings = training.TrainingConfig.from_dict(
        tuned["training"]
        | {
            "seed": seed,
            "steps": final["STEPS"],
            "evaluate_every": final["EVALUATE_EVERY"],
            "patience": final["PATIENCE"],
        }
    )
    data = training.prepare(panel, split, config)
    fit = training.fit(
        data,
        config,
        settings,
        on_evaluation=training.progress_bar(settings) if progress else None,
    )
    fit = training.calibrate(fit, data)
    for name in ("search.parquet", "search.db", "tuning.json"):
        (folder / name).unlink(missing_ok=True)
    model = training.save_artifact(folder, fit, data, panel, split)
    is_last = split.validation_end == split.test_end  # else the days of a test would be learned
    if final["REFIT"] and is_last and (again := training.refit(fit, data, panel)):
        return training.save_refit(folder, again, panel)
    return model


def least_days(effort: str | None) -> int:
    """Return the observed days that one series needs under an effort."""
    return 1 if effort in (None, INSTANT, REGISTERED) else WINDOW_DAYS


def check_effort(effort: str) -> None:
    """Raise ParameterError unless an effort names the pretrained network or a profile."""
    if effort == INSTANT:
        return
    try:
        profile_values(effort)
    except ParameterError as error:
        raise ParameterError(
            f"EFFORT: got {effort!r}, expected instant, registered or a profile ({error})"
        ) from error
