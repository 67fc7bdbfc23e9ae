"""What the environment and `.env` say: one validated `Settings`, and the set-up of the logs.

No other module reads the environment. Everything a run writes goes below `var_dir` unless a
URL says otherwise.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PACKAGE = Path(__file__).resolve().parent  # the code of lib, wherever it is installed
_CHECKOUT = (PACKAGE.parent / "pyproject.toml").is_file()
# Where var/ and .env lie and relative paths begin: the checkout, or else the working directory. A
# kernel runs in the folder of its notebook, so it gets that of the process that started it.
ROOT_VARIABLE = "PRODUCTION_LSTM_ROOT"
ROOT = PACKAGE.parent if _CHECKOUT else Path(os.environ.get(ROOT_VARIABLE) or Path.cwd())
NOTEBOOKS = (ROOT if _CHECKOUT else PACKAGE) / "notebooks"
SECRETS = Path("/run/secrets")  # where containers find a file a secret, named as the setting
_CRON = re.compile(r"(\*(/\d+)?|\d+(-\d+(/\d+)?)?)(,(\*(/\d+)?|\d+(-\d+(/\d+)?)?))*")
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class SettingsError(ValueError):
    """The environment or `.env` holds a setting that cannot be used; the message names it."""


class Settings(BaseSettings):
    """Settings of this installation. Each field is set by its upper-case name, such as `VAR_DIR`.

    A variable of the environment goes before the same one in `.env`; an empty one counts as not
    set; a name in `.env` that is no setting is an error, so that a typing error is noticed.
    Raises pydantic's ValidationError, which never shows the values (`get_settings` words it).
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
    var_dir: Path = Path("var")
    # A URL may hold a password, so it is left out of the repr.
    mlflow_tracking_uri: str = Field("", repr=False)
    mlflow_artifact_root: str = ""  # a folder or a URL
    optuna_storage: str = Field("", repr=False)
    database_url: str = Field("", repr=False)
    queue_url: str = Field("", repr=False)

    mlflow_ui_url: str = ""  # where people open MLflow; only shown
    ray_address: str = ""  # of a cluster that forecasts many series; "" is this machine

    registered_model_name: str = Field("ProductionLSTM-Forecast", min_length=1)

    # The service
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    explanation_queue_max: int = Field(100, ge=1)  # jobs that may wait
    explanation_retention_days: float = Field(30, gt=0, le=36500)  # also of /predict's bodies
    # Of predictions, checks, ended alerts; 0 keeps all
    retention_days: float = Field(730, ge=0, le=36500)

    # Alerts: an incident that comes back within the cooldown is the same one
    alert_cooldown_hours: float = Field(24, ge=0, le=8760)
    alert_webhook_url: str = Field("", repr=False)  # it may hold a secret
    # By mail; without smtp_host or alert_email none is sent
    smtp_host: str = ""
    smtp_port: int = Field(587, ge=1, le=65535)
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_from: str = ""
    smtp_starttls: bool = True
    alert_email: str = ""

    # Monitoring: when, and whether it may retrain
    monitor_cron: str = ""  # five fields, in UTC; "" is never
    auto_retrain: bool = False
    retrain_data: str = Field("", repr=False)  # a file, a glob or a SQL query
    retrain_database_url: str = Field("", repr=False)  # of the query; "" is database_url
    retrain_profile: str = Field("default", pattern=r"^[\w-]+$")
    retrain_parameters: str = ""  # NAME=value …, as behind `make train`

    # Monitoring: a check looks at a window of days, and alarms once it has found the same
    # `monitor_checks` times in a row
    monitor_window_days: int = Field(21, ge=7, le=366)
    monitor_checks: int = Field(3, ge=1, le=100)
    max_mae: float | None = Field(None, gt=0)  # units of the series; none is no limit
    max_rmse: float | None = Field(None, gt=0)
    min_r2: float | None = Field(None, le=1)
    max_degradation: float = Field(0.10, gt=0)  # share of the error that the backtest promised
    max_coverage_loss: float = Field(0.10, ge=0, lt=1)  # of the 80 % interval, share of days
    drift_alpha: float = Field(0.001, gt=0, lt=1)  # false flags of a window, before they must last
    drift_min_effect: float = Field(0.1, ge=0)  # population stability index
    retrain_after_days: float = Field(7, ge=0)  # 0 is never
    retrain_after_samples: int = Field(100, ge=0)  # new actuals; 0 is never
    # Days after a change that a challenger must have to learn from, where nothing but the change
    # asks for one; 0 is none
    retrain_learn_days: float = Field(14, ge=0)
    # New days before another challenger, where the gate kept the last one out; 0 is none
    retrain_pause_days: float = Field(7, ge=0)

    # What forecasts cost and earn, in money per unit of the series unless said otherwise
    cost_over: float = Field(1.0, ge=0)  # forecast, but not wanted
    cost_under: float = Field(2.0, ge=0)  # wanted, but not forecast
    revenue_per_accurate: float = Field(10.0, ge=0)  # money per day of a series
    accurate_within: float = Field(0.10, gt=0)  # share of the truth
    inventory_saving: float = Field(0.25, ge=0)  # share of the cost avoided against last week's

    log_level: LogLevel = "INFO"

    @field_validator("var_dir")
    @classmethod
    def _count_from_root(cls, value: Path) -> Path:
        # A relative path must not mean another folder for each working directory.
        return ROOT / value.expanduser()

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if isinstance(value, str):
            # Of others, each client sends other bytes in a header, if any.
            if not value.isascii():
                raise ValueError("expected ASCII characters in keys")
            return tuple(key for part in value.split(",") if (key := part.strip()))
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("monitor_cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        fields = value.split()
        if fields and (len(fields) != 5 or not all(map(_CRON.fullmatch, fields))):
            raise ValueError(
                "expected minute, hour, day, month and weekday (0 is Sunday), such as 30 5 * * 1-5"
            )
        return " ".join(fields)

    @field_validator(
        "optuna_storage",
        "database_url",
        "queue_url",
        "mlflow_tracking_uri",
        "retrain_database_url",
    )
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value and "://" not in value and value != "databricks":
            raise ValueError(
                "expected a URL such as sqlite:///var/state.db, postgresql://… or http://…"
            )
        file = value.removeprefix("sqlite:///")
        if file not in (value, "", ":memory:") and not Path(file).is_absolute():
            return f"sqlite:///{ROOT / file}"
        return value

    @field_validator("mlflow_ui_url")
    @classmethod
    def _is_page(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("expected http://… or https://…")
        return value

    @field_validator("queue_url")
    @classmethod
    def _is_queue(cls, value: str) -> str:
        if value and not value.startswith(("sqlite:///", "redis://", "rediss://")):
            raise ValueError("expected sqlite:///FILE or redis://HOST:PORT")
        return value

    @field_validator("alert_webhook_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("expected http://… or https://…")
        return value

    @field_validator("alert_email", "smtp_from")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and "@" not in value:
            raise ValueError("expected an e-mail address")
        return value

    @model_validator(mode="after")
    def _fill_places(self) -> Self:
        # Only what was left empty, and as if it had been given: the object is frozen afterwards.
        places = {
            "mlflow_tracking_uri": f"sqlite:///{self.var_dir / 'mlflow.db'}",
            "mlflow_artifact_root": str(self.var_dir / "mlartifacts"),
            "optuna_storage": f"sqlite:///{self.var_dir / 'optuna.db'}",
            "database_url": f"sqlite:///{self.var_dir / 'state.db'}",
            "queue_url": f"sqlite:///{self.var_dir / 'queue.db'}",
        }
        for name, place in places.items():
            if not getattr(self, name):
                self.__dict__[name] = place
        return self


def get_settings(env_file: str | Path | None = ROOT / ".env") -> Settings:
    """Read the environment and `env_file` (None: the environment alone); make `var_dir`.

    A setting that neither has is read from the file of its name in SECRETS, if there is one.
    Nothing is cached: each call tells what holds now. Raises SettingsError, naming the variables
    but never their values.
    """
    try:
        secrets = SECRETS if SECRETS.is_dir() else None
        settings = Settings(_env_file=env_file, _secrets_dir=secrets)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])).upper()}: {_wording(item['type'], item['msg'])}"
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


def _wording(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "is no setting (a typing error?)"
    return message.removeprefix("Value error, ")
