"""The covariates that a forecaster has learned, to read later tables by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from lib.data import Source, as_frame, covariate_columns, refuse_misspelt, split_column

OF_HISTORY = Source("series table", is_table=True)


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

    def options(self, table: pd.DataFrame, others: Iterable[str] = ()) -> dict[str, Any]:
        """Return the arguments of `lib.data.validate` for a later table.

        Args:
            table: of the user's.
            others: names of those that are no covariates.

        Raises:
            SeriesError: a column has nearly the name of a covariate that is not there.
        """
        there = set(as_frame(table, self.kinds, OF_HISTORY).columns)
        refuse_misspelt(self.kinds, there, others, OF_HISTORY)
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
