"""What the defaults of evidently and nannyml find in the years that `delays` writes.

Runs in an environment of its own: `peers.py FOLDER OUT.json`. Once a week each looks at what has
come since: evidently compares the last 21 days with the year before by `DataDriftPreset` and takes
its verdict on the data set (half of the columns have drifted) or on any column; nannyml compares
weeks with the reference by `UnivariateDriftCalculator`, and the realised error by
`PerformanceCalculator`, each with its default thresholds.
"""

import contextlib
import io
import json
import sys
import time
import warnings
from pathlib import Path

import pandas as pd

warnings.filterwarnings("ignore")
FEATURES = [
    "media_movel_7", "media_movel_30", "desvio_movel_7", "lag_1", "lag_7", "fator_externo",
    "evento_especial", "dia_semana_sin", "dia_semana_cos", "mes_sin", "mes_cos",
]  # fmt: skip
WINDOW, WEEK = 21, 7


def begins(days: list[int]) -> list[int]:
    """Return the days on which a run of weekly alarms begins."""
    return [day for day in days if day - WEEK not in days]


def run_evidently(reference: pd.DataFrame, live: pd.DataFrame) -> dict[str, list[int]]:
    """Compare the last 21 days, each week, with the year before."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    found: dict[str, list[int]] = {"evidently, data set": [], "evidently, any column": []}
    for day in range(int(live["day"].min()) + WINDOW, int(live["day"].max()) + 1, WEEK):
        window = live[(live["day"] > day - WINDOW) & (live["day"] <= day)]
        report = Report([DataDriftPreset(columns=FEATURES)])
        result = report.run(window[FEATURES], reference[FEATURES]).dict()
        drifted = next(
            metric["value"]
            for metric in result["metrics"]
            if "DriftedColumnsCount" in str(metric.get("metric_name", metric.get("metric_id", "")))
        )
        if drifted["share"] >= 0.5:
            found["evidently, data set"].append(day)
        if drifted["count"] > 0:
            found["evidently, any column"].append(day)
    return found


def run_nannyml(reference: pd.DataFrame, live: pd.DataFrame) -> dict[str, list[int]]:
    """Compare each week with the reference: the features, and the realised error."""
    import nannyml as nml

    kept = live[live["day"] <= int(live["day"].max()) // WEEK * WEEK]
    drift = nml.UnivariateDriftCalculator(
        column_names=FEATURES[:7], timestamp_column_name="date", chunk_period="W"
    )
    drift.fit(reference)
    table = drift.calculate(kept).filter(period="analysis").to_df()
    alerts = table.loc[:, [c for c in table.columns if c[-1] == "alert"]].any(axis=1)
    ends = pd.to_datetime(table[("chunk", "chunk", "end_date")])
    origin = live["date"].iloc[0] - pd.Timedelta(days=int(live["day"].iloc[0]))
    days = (ends.dt.normalize() - origin).dt.days
    error = nml.PerformanceCalculator(
        problem_type="regression", y_true="actual", y_pred="forecast", metrics=["mae"],
        timestamp_column_name="date", chunk_period="W",
    )  # fmt: skip
    error.fit(reference)
    scores = error.calculate(kept).filter(period="analysis").to_df()
    worse = scores[("mae", "alert")].to_numpy(bool)
    score_days = (pd.to_datetime(scores[("chunk", "end_date")]).dt.normalize() - origin).dt.days
    return {
        "nannyml, drift": [int(d) for d, up in zip(days, alerts, strict=True) if up],
        "nannyml, error": [int(d) for d, up in zip(score_days, worse, strict=True) if up],
    }


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    years = json.loads(out.read_text()) if out.is_file() else []
    known = {(year["change"], year["seed"]) for year in years}
    started = time.process_time()
    for path in sorted(folder.glob("*.parquet"), key=lambda path: int(path.name.split(".")[1])):
        change, seed, first, _ = path.name.split(".")
        change = "" if change == "healthy" else change.replace("-", " ")
        if (change, int(seed)) in known:
            continue
        table = pd.read_parquet(path).sort_values(["day", "series_id"])
        reference, live = table[table["day"] < 0], table[table["day"] >= 0]
        live = live[live["day"] > int(first) - 3 * WEEK] if change else live
        with contextlib.redirect_stdout(io.StringIO()):
            found = run_evidently(reference, live) | run_nannyml(reference, live)
        for program, days in found.items():
            alarms = [d for d in begins(days) if not change or d >= int(first)]
            years.append(
                {"program": program, "seed": int(seed), "change": change, "alarms": alarms}
            )
        out.write_text(json.dumps(years))
        sys.stderr.write(f"{path.name} {time.process_time() - started:.0f} s {found}\n")


if __name__ == "__main__":
    main()
