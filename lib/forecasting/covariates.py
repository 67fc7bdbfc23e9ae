"""Name the covariates of a table for a model, and tell which of them are known ahead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lib.data import Panel, covariate_columns, split_column

CANONICAL = {"fator_externo": "factor", "evento_especial": "event"}  # to fields of a panel


@dataclass(frozen=True)
class LearnedCovariates:
    """The covariates that a forecaster has learned, by role, for later tables.

    Attributes:
        roles: "known", "past" and "static" to names.
        kinds: of each, by name.
    """

    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, items: Iterable[tuple[str, str, str]]) -> LearnedCovariates:
        """Make them of roles, kinds and names; holidays come by themselves."""
        named = [(role, kind, name) for role, kind, name in items if kind != "holiday"]
        roles = {
            role: tuple(name for r, _, name in named if r == role)
            for role in ("known", "past", "static")
        }
        return cls(roles, {name: kind for _, kind, name in named})

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> LearnedCovariates:
        """Return those of a canonical table."""
        return cls.of(split_column(name)[:3] for name in covariate_columns(table.columns))

    @classmethod
    def of_contract(cls, described: Sequence[Mapping[str, Any]]) -> LearnedCovariates:
        """Return those of the contract of a model."""
        return cls.of((item["role"], item["kind"], item["name"]) for item in described)

    def options(self, columns: Iterable[str]) -> dict[str, Any]:
        """Return the arguments of `lib.data.validate` for a table with these columns."""
        there = set(columns)
        arguments = {
            "known": "covariates",
            "past": "past_covariates",
            "static": "static_covariates",
        }
        options: dict[str, Any] = {
            arguments[role]: [name for name in names if name in there]
            for role, names in self.roles.items()
        }
        return options | {"kinds": self.kinds}


def describe_ahead(panel: Panel, origins: np.ndarray, horizon: int) -> str:
    """Return in words which covariates are known for the days ahead, "" without any.

    Args:
        panel: history and horizon of each series.
        origins: (series,) row of the last known day.
        horizon: days ahead.
    """
    rows = (origins[:, None] + np.arange(1, horizon + 1)).ravel()
    columns = {name: getattr(panel, attribute) for name, attribute in CANONICAL.items()}
    columns = {name: values for name, values in columns.items() if np.isfinite(values).any()}
    columns |= {c.name: c.values for c in panel.covariates if c.role == "known"}
    past = [c.name for c in panel.covariates if c.role == "past"]
    share = {name: float(np.isfinite(values[rows]).mean()) for name, values in columns.items()}
    groups = {
        "Known for the days ahead": [name for name, part in share.items() if part == 1],
        "known for some of them": [
            f"{name} ({100 * part:.0f} %)" for name, part in share.items() if 0 < part < 1
        ],
        "not known": [name for name, part in share.items() if part == 0] + past,
    }
    text = "; ".join(f"{what}: {', '.join(names)}" for what, names in groups.items() if names)
    return f"{text[0].upper()}{text[1:]}." if text else ""
