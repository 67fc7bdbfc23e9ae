"""What the defaults of evidently and nannyml find in the years that `delays` writes.

Runs in an environment of its own: `peers.py FOLDER OUT.json`. Once a week each looks at the seven
features that are no calendar. evidently compares the last 21 days with the year before: the metric
`DriftedColumnsCount`, which `DataDriftPreset` has its verdict from (the preset also draws, for 40
times the time), and its default that a data set has drifted where half of the columns have; beside
it the verdict on any column. nannyml compares calendar weeks with the year before by
`UnivariateDriftCalculator`, and the error of the next day by `PerformanceCalculator` (MAE), each
with its default thresholds.
"""

import json
import os
import sys
import time
import warnings
from pathlib import Path

import pandas as pd

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # read when nannyml is imported
warnings.filterwarnings("ignore")
FEATURES = [
    "media_movel_7", "media_movel_30", "desvio_movel_7", "lag_1", "lag_7", "fator_externo",
    "evento_especial",
]  # fmt: skip
WINDOW, WEEK = 21, 7


def run_evidently(
    reference: pd.DataFrame, live: pd.DataFrame, first: int
) -> dict[str, dict[int, bool]]:
    """Compare the last 21 days, each week from day `first` on, with the year before."""
    from evidently import Report
    from evidently.metrics import DriftedColumnsCount

    found: dict[str, dict[int, bool]] = {"evidently, data set": {}, "evidently, any column": {}}
    for day in range(first, int(live["day"].max()) + 1, WEEK):
        window = live[(live["day"] > day - WINDOW) & (live["day"] <= day)]
        report = Report([DriftedColumnsCount(columns=FEATURES)])
        result = report.run(window[FEATURES], reference[FEATURES]).dict()
        [drifted] = [metric["value"] for metric in result["metrics"] if "share" in metric["value"]]
        found["evidently, data set"][day] = drifted["share"] >= 0.5
        found["evidently, any column"][day] = drifted["count"] > 0
    return found


def run_nannyml(
    reference: pd.DataFrame, live: pd.DataFrame, first: int
) -> dict[str, dict[int, bool]]:
    """Compare each week from day `first` on with the reference: features, and realised error."""
    import nannyml as nml

    origin = live["date"].iloc[0] - pd.Timedelta(days=int(live["day"].iloc[0]))
    drift = nml.UnivariateDriftCalculator(
        column_names=FEATURES, timestamp_column_name="date", chunk_period="W"
    )
    drift.fit(reference)
    table = drift.calculate(live).filter(period="analysis").to_df()
    alerts = table.loc[:, [c for c in table.columns if c[-1] == "alert"]].any(axis=1)
    error = nml.PerformanceCalculator(
        problem_type="regression", y_true="actual", y_pred="forecast", metrics=["mae"],
        timestamp_column_name="date", chunk_period="W",
    )  # fmt: skip
    error.fit(reference)
    scores = error.calculate(live).filter(period="analysis").to_df()
    weeks = {
        "nannyml, drift": (table[("chunk", "chunk", "end_date")], alerts),
        "nannyml, error": (scores[("chunk", "end_date")], scores[("mae", "alert")]),
    }
    found: dict[str, dict[int, bool]] = {}
    for program, (ends, is_up) in weeks.items():
        days = (pd.to_datetime(ends).dt.normalize() - origin).dt.days
        whole = zip(days, is_up, strict=True)
        last = int(live["day"].max())  # the week of the last day may be cut off
        found[program] = {int(d): bool(up) for d, up in whole if first <= d <= last}
    return found


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    years = json.loads(out.read_text()) if out.is_file() else []
    known = {(year["change"], year["seed"]) for year in years}
    started = time.process_time()
    for path in sorted(folder.glob("*.parquet")):
        change, seed, first, _ = path.name.split(".")
        change = "" if change == "healthy" else change.replace("-", " ")
        if (change, int(seed)) in known:
            continue
        table = pd.read_parquet(path).sort_values(["day", "series_id"])
        reference, live = table[table["day"] < 0], table[table["day"] >= 0]
        live = live[live["day"] > int(first) - WINDOW]
        found = run_evidently(reference, live, int(first))
        found |= run_nannyml(reference, live, int(first))
        for program, checks in found.items():
            days = sorted(checks)
            before = [False, *(checks[day] for day in days)]
            alarms = [
                day for day, was in zip(days, before, strict=False) if checks[day] and not was
            ]
            share = sum(checks.values()) / len(checks)
            years.append(
                {"program": program, "seed": int(seed), "change": change, "alarms": alarms}
                | {"share": share}
            )
        out.write_text(json.dumps(years))
    sys.stderr.write(f"peers: {time.process_time() - started:.0f} s of processor\n")


if __name__ == "__main__":
    main()
