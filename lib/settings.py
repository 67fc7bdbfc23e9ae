"""Reads the settings of this installation from the environment and `.env`.

No other module reads the environment. Everything a run writes goes below `var_dir` unless a
URL says otherwise.
"""

from __future__ import annotations

import logging
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PACKAGE = Path(__file__).resolve().parent  # the code of lib, wherever it is installed
_CHECKOUT = (PACKAGE.parent / "pyproject.toml").is_file()
# Where var/ and .env lie and relative paths begin: the checkout, or else the working directory. A
# kernel runs in the folder of its notebook, so it gets that of the process that started it.
ROOT_VARIABLE = "PRODUCTION_LSTM_ROOT"
ROOT = PACKAGE.parent if _CHECKOUT else Path(os.environ.get(ROOT_VARIABLE) or Path.cwd())
NOTEBOOKS = (ROOT if _CHECKOUT else PACKAGE) / "notebooks"
SECRETS = Path("/run/secrets")  # where containers find a file a secret, named as the setting


class SettingsError(ValueError):
    """The environment or `.env` holds a setting that cannot be used; the message names it."""


def _count_from_root(path: Path) -> Path:
    # A relative path must not mean another folder for each working directory.
    return ROOT / path.expanduser()


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _split_keys(value: object) -> object:
    if isinstance(value, str):
        # Clients differ in the bytes they send for other characters in a header.
        if not value.isascii():
            raise ValueError("expected ASCII characters in keys")
        keys = tuple(key for part in value.split(",") if (key := part.strip()))
        if value.strip() and not keys:
            raise ValueError("expected keys with commas between, got commas only")
        return keys
    return value


def _check_cron(value: str) -> str:
    fields = value.split()
    line = " ".join(fields)
    if not line:
        return ""
    expected = "expected minute, hour, day, month and weekday (0 is Sunday), such as 30 5 * * 1-5"
    if len(fields) != 5:
        raise ValueError(f"{expected}; got {len(fields)} fields")
    if any(map(str.isalpha, line)):
        raise ValueError(f"{expected}; names of days and months are not part of every cron")
    try:
        CronSim(line, datetime.now(UTC))
    except CronSimError as error:
        raise ValueError(f"{expected}; {error}") from error
    return line


def _check_store_url(value: str) -> str:
    if value and "://" not in value and value != "databricks":
        raise ValueError(
            "expected a URL such as sqlite:///var/state.db, postgresql://… or http://…"
        )
    file = value.removeprefix("sqlite:///")
    if file not in (value, "", ":memory:") and not Path(file).is_absolute():
        return f"sqlite:///{ROOT / file}"
    return value


def _split_alert_urls(value: object) -> object:
    # Some URLs contain commas: only one before the next scheme separates.
    if isinstance(value, str):
        return tuple(url for part in re.split(r",(?=\s*\w+://)", value) if (url := part.strip()))
    return value


def _check_alert_urls(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for number, url in enumerate(value, start=1):
        scheme, separator, _ = url.get_secret_value().partition("://")
        if not separator:
            raise ValueError(f"expected SCHEME://… with commas between, see entry {number}")
        from apprise import Apprise  # a second to import, for those who set the variable

        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it shows parts of the URL
        if not Apprise.instantiate(url.get_secret_value()):
            raise ValueError(f"apprise cannot use entry {number}, a URL of {scheme}://")
    return value


def _check_web_url(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("expected http://… or https://…")
    return value


def _check_address(value: str) -> str:
    if value and "@" not in value:
        raise ValueError("expected an e-mail address")
    return value


LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LogFormat = Literal["auto", "json", "text"]
StoreUrl = Annotated[str, AfterValidator(_check_store_url)]
WebUrl = Annotated[str, AfterValidator(_check_web_url)]
Address = Annotated[str, AfterValidator(_check_address)]
AlertUrls = Annotated[
    tuple[SecretStr, ...],
    NoDecode,
    BeforeValidator(_split_alert_urls),
    AfterValidator(_check_alert_urls),
]


class Settings(BaseSettings):
    """Settings of this installation. Each field is set by its upper-case name, such as `VAR_DIR`.

    A variable of the environment goes before the same one in `.env`. An empty one counts as not
    set. A name in `.env` that is no setting is an error, so that a typing error is noticed.

    Raises:
        pydantic.ValidationError: a setting is wrong; the values are never shown.
    """

    model_config = SettingsConfigDict(
        env_file=ROOT / ".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # an ill-typed line may hold a password
        validate_default=True,
    )

    # Where things are kept; "" becomes a place below var_dir.
    var_dir: Annotated[Path, AfterValidator(_count_from_root)] = Path("var")
    # A URL may hold a password, so it is left out of the repr.
    mlflow_tracking_uri: StoreUrl = Field("", repr=False)
    mlflow_artifact_root: str = ""  # a folder or a URL
    optuna_storage: StoreUrl = Field("", repr=False)
    database_url: StoreUrl = Field("", repr=False)
    queue_url: str = Field("", repr=False)  # of earlier versions; ignored

    mlflow_ui_url: WebUrl = ""  # where people open MLflow; only shown
    ray_address: str = ""  # of a cluster that forecasts many series; "" is this machine

    registered_model_name: str = Field("ProductionLSTM-Forecast", min_length=1)

    # The service
    serve_pretrained: bool = True  # the pretrained network answers where nothing was trained yet
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_keys)] = ()
    # Days of history a second that each process takes from one client; 0 is no limit
    rate_limit_rows: int = Field(200_000, ge=0)
    explanation_queue_max: int = Field(100, ge=1)  # jobs that may wait
    explanation_retention_days: float = Field(30, gt=0, le=36500)  # also of /predict's bodies
    # Of predictions, checks, ended alerts; 0 keeps all
    retention_days: float = Field(730, ge=0, le=36500)
    database_max_mb: int = Field(10_000, ge=0)  # beyond it no prediction is stored; 0 is no limit

    # Alerts: an incident that comes back within the cooldown is the same one
    alert_cooldown_hours: float = Field(24, ge=0, le=8760)
    alert_webhook_url: WebUrl = Field("", repr=False)  # it may hold a secret
    alert_urls: AlertUrls = ()  # of apprise: mailtos://, slack://
    digest: bool = False  # send the state of the model each day, where alerts go
    public_url: WebUrl = ""  # where people open the page; for links
    # By mail; without smtp_host or alert_email none is sent
    smtp_host: str = ""
    smtp_port: int = Field(587, ge=1, le=65535)
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_from: Address = ""
    smtp_starttls: bool = True
    alert_email: Address = ""

    # Monitoring: when, and whether it may retrain
    monitor_cron: Annotated[str, AfterValidator(_check_cron)] = (
        ""  # five fields, in UTC; "" is never
    )
    auto_retrain: bool = False
    retrain_data: str = Field("", repr=False)  # a file, a glob or a SQL query
    retrain_database_url: StoreUrl = Field("", repr=False)  # of the query; "" is database_url
    retrain_profile: str = Field("default", pattern=r"^[\w-]+$")
    retrain_unknown_series: bool = False  # take actuals of series that retrain_data lacks
    retrain_parameters: str = ""  # NAME=value …, as behind `make train`

    # Monitoring: a check looks at a window of days, and alarms once `monitor_checks` checks in a
    # row have flagged the same
    monitor_window_days: int = Field(21, ge=7, le=366)
    monitor_checks: int = Field(3, ge=1, le=100)
    # Days beyond the usual after which truth, forecasts or series are missed
    monitor_silent_days: int = Field(3, ge=1, le=366)
    monitor_groups: str = ""  # CSV or Parquet: series_id, and columns by which series are grouped
    max_mae: float | None = Field(None, gt=0)  # units of the series; none is no limit
    max_rmse: float | None = Field(None, gt=0)
    min_r2: float | None = Field(None, le=1)
    max_degradation: float = Field(0.10, gt=0)  # share of the error expected from the backtest
    max_coverage_loss: float = Field(0.10, ge=0, lt=1)  # of the 80 % interval, share of days
    drift_alpha: float = Field(
        0.001, gt=0, lt=1
    )  # false flags of a window, before they must repeat
    drift_min_effect: float = Field(0.1, ge=0)  # population stability index
    retrain_after_days: float = Field(28, ge=0)  # 0 is never
    retrain_after_samples: int = Field(0, ge=0)  # new actuals; 0 is never
    # Days after a change that a challenger must be able to learn from, where the change alone is
    # the reason to retrain; 0 is none
    retrain_learn_days: float = Field(14, ge=0)
    # New days before another challenger, after the gate rejected the last one; 0 is none
    retrain_pause_days: float = Field(7, ge=0)

    # What forecasts cost and earn, in money per unit of the series unless noted
    cost_over: float = Field(1.0, ge=0)  # forecast, but no demand
    cost_under: float = Field(2.0, ge=0)  # demand, but not forecast
    revenue_per_accurate: float = Field(10.0, ge=0)  # money per day of a series
    accurate_within: float = Field(0.10, gt=0)  # share of the actual value
    inventory_saving: float = Field(0.25, ge=0)  # share of the cost avoided against last week's

    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = "INFO"
    log_format: LogFormat = "auto"  # of commands: readable lines on a terminal, JSON elsewhere

    @model_validator(mode="after")
    def _fill_places(self) -> Self:
        # Only what was left empty; written past the freeze of the object.
        places = {
            "mlflow_tracking_uri": f"sqlite:///{self.var_dir / 'mlflow.db'}",
            "mlflow_artifact_root": str(self.var_dir / "mlartifacts"),
            "optuna_storage": f"sqlite:///{self.var_dir / 'optuna.db'}",
            "database_url": f"sqlite:///{self.var_dir / 'state.db'}",
        }
        for name, place in places.items():
            if not getattr(self, name):
                self.__dict__[name] = place
        return self


def get_settings(env_file: str | Path | None = ROOT / ".env") -> Settings:
    """Read the environment and `env_file`, and make `var_dir`.

    A setting that neither has is read from the file of its name in SECRETS, if there is one.
    Nothing is cached: each call reads the current values.

    Args:
        env_file: None reads the environment alone.

    Raises:
        SettingsError: a setting is wrong; the message names the variables, never their values.
    """
    try:
        secrets = SECRETS if SECRETS.is_dir() else None
        settings = Settings(_env_file=env_file, _secrets_dir=secrets)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])).upper()}: {_describe(item['type'], item['msg'])}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(
            f"settings from the environment and {env_file or 'no file'}: {problems}. "
            "See .env.example for every setting."
        ) from None
    try:
        settings.var_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"VAR_DIR: cannot make the folder {settings.var_dir} ({error.strerror}); "
            "expected a folder this user may write to"
        ) from error
    return settings


def _describe(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "is no setting (a typing error?)"
    return message.removeprefix("Value error, ")


def usable_cores() -> int:
    """Return how many processors this process may use; on macOS, how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
