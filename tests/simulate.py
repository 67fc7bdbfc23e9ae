"""A future, day by day through the real server: forecasts, truth, checks, retraining.

Trains a small model on three synthetic years, serves it, and replays the fourth: on every evening
the truth of the day is sent, and a forecast asked for. Checks run as the worker would run them;
what they find, what is trained and which version answers is kept as `timeline.json` and a figure.
`python -m tests.simulate --help`
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import requests

from lib.data.panel import Panel
from lib.data.series_tables import to_table
from lib.data.synthesis import synthesize
from lib.data.synthesis_spec import SynthesisSpec
from lib.log import configure_logging
from lib.monitoring.alerts import open_incidents
from lib.monitoring.report import Report
from lib.pipeline.check import check_and_retrain
from lib.settings import ROOT, Settings
from lib.storage.database import Store
from tests.ports import free_port

DAYS, LIVE = 1461, 1096
SILENT_DAYS = 30  # without truth, which comes afterwards
NAMES = ("series", "change", "silence", "days", "every", "seed")
CONTEXT = 175  # days of history that are sent
LEARNED = 366  # of the days before the service begins, those that challengers learn from
TRAINING = {"HORIZON": "7", "MEMBERS": "1", "N_TRIALS": "1", "TRIAL_STEPS": "20"}
TRAINING |= {"STEPS": "200", "EVALUATE_EVERY": "20"}
# What is promised comes from eight weeks; after a change the fewer days are judged by, the sooner
# all of them are behind it, and the sooner days behind it can be learned from.
FIRST = TRAINING | {"CUTOFFS": "8", "STEP": "7", "VALIDATION_DAYS": "56"}
AGAIN = TRAINING | {"CUTOFFS": "4", "STEP": "1", "VALIDATION_DAYS": "7"}
AGAIN |= {"N_GLOBAL": "2", "N_BACKGROUND": "1"}


def world(series: int, change: int, seed: int) -> Panel:
    """Four years; `change` days into the last, the week swings two and a half times as far.

    Level and noise stay, so that a forecaster which knows the new week errs as little as before.
    """
    spec = SynthesisSpec(n_series=series, n_days=DAYS)
    before, _ = synthesize(spec, seed)
    if not change:
        return before
    after, _ = synthesize(replace(spec, weekly=0.45), seed)
    late = np.tile(np.arange(DAYS) >= LIVE + change, series)
    return replace(before, values=np.where(late, after.values, before.values))


@contextmanager
def served(folder: Path, port: int):
    """The API with its processes, ready."""
    command = [sys.executable, "-m", "serving.server", "--port", str(port), "--no-worker"]
    with (folder / "api.log").open("wb") as out:
        environment = os.environ | {"VAR_DIR": str(folder), "LOG_LEVEL": "WARNING"}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    try:
        for _ in range(600):
            try:
                if requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=2).ok:
                    break
            except requests.RequestException:
                pass
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


class Client:
    """Asks and tells, and counts what failed. One a thread: connections are not shared."""

    def __init__(self, url: str, panel: Panel) -> None:
        self.url, self.panel = url, panel
        self.days = _days(panel)
        self.session = requests.Session()
        self.failed: list[str] = []
        self.version = 0

    def evening(self, day: int, *, is_silent: bool = False) -> float:
        """The truth of a day, and a forecast made on its evening. → MAE of the day after.

        On a silent evening the truth is not sent, though forecasts are asked for with it.
        """
        panel = self.panel
        rows = panel.offsets[:-1] + day
        if not is_silent:
            self.send_truth(day)
        series = [
            {"series_id": name, "history": self.days[row - CONTEXT + 1 : row + 1]}
            for name, row in zip(panel.ids, rows, strict=True)
        ]
        answer = self._post("/forecast", {"series": series, "horizon": 7})
        if answer is None:
            return float("nan")
        self.version = answer["model_version"]
        medians = [one["forecast"][0]["prediction"] for one in answer["forecasts"]]
        return float(np.nanmean(np.abs(np.array(medians) - panel.values[rows + 1])))

    def send_truth(self, day: int) -> None:
        """The truth of a day."""
        date, values = str(self.panel.dates[day]), self.panel.values[self.panel.offsets[:-1] + day]
        actuals = [
            {"series_id": name, "date": date, "value": value}
            for name, value in zip(self.panel.ids, values.tolist(), strict=True)
            if np.isfinite(value)
        ]
        self._post("/actuals", {"actuals": actuals})

    def _post(self, path: str, body: dict) -> dict | None:
        try:
            answer = self.session.post(self.url + path, json=body, timeout=30)
        except requests.RequestException as error:
            self.failed.append(f"{path}: {error}")
            return None
        if not answer.ok:
            self.failed.append(f"{path}: {answer.status_code} {answer.text[:200]}")
            return None
        return answer.json()


def _days(panel: Panel) -> list[dict]:
    """Each row of the panel as `/forecast` takes it."""
    columns = (panel.values, panel.factor, panel.event)
    known = [[None if x != x else x for x in column.tolist()] for column in columns]
    dates = np.datetime_as_string(panel.dates.astype("datetime64[D]")).tolist()
    names = ("date", "value", "fator_externo", "evento_especial")
    return [dict(zip(names, row, strict=True)) for row in zip(dates, *known, strict=True)]


def train(folder: Path, data: Path) -> None:
    """The first version, on the days before the service begins."""
    command = [sys.executable, "-m", "lib.pipeline", "train", "--profile", "ci", f"DATA={data}"]
    command += ["--until", "03_training"]  # nobody asks this one why
    command += [f"{name}={value}" for name, value in FIRST.items()]
    environment = os.environ | {"VAR_DIR": str(folder), "LOG_LEVEL": "WARNING"}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def simulate(
    folder: Path, *, series: int, change: int, silence: int, days: int, every: int, seed: int
) -> dict:
    panel = world(series, change, seed)
    table = to_table(panel)
    start = panel.dates[LIVE]
    data = folder / "history.parquet"
    past = table[table["date"] < start]
    past.to_parquet(data)
    train(folder, data)
    past[past["date"] >= start - LEARNED].to_parquet(recent := folder / "recent.parquet")
    settings = Settings(
        var_dir=folder,
        log_level="WARNING",
        auto_retrain=True,
        retrain_data=str(recent),
        retrain_profile="ci",
        retrain_parameters=" ".join(f"{k}={v}" for k, v in AGAIN.items()),
        retrain_after_days=0,  # by what is found only, not by the calendar
        retrain_after_samples=0,
    )
    store = Store(settings.database_url)
    timeline, events, told = [], [], set()
    with served(folder, free_port()) as url:
        client = Client(url, panel)
        for number in range(days):
            is_silent = 0 < silence <= number < silence + SILENT_DAYS
            if silence and number == silence + SILENT_DAYS:  # all of it comes late, and at once
                for late in range(silence, number):
                    client.send_truth(LIVE + late)
            error = client.evening(LIVE + number, is_silent=is_silent)
            timeline.append({"day": number, "mae": error, "version": client.version})
            if number < settings.monitor_window_days or number % every:
                continue
            stop, beside = threading.Event(), Client(url, panel)

            def go_on(day=LIVE + number, stop=stop, beside=beside, is_silent=is_silent):
                while not stop.wait(0.5):
                    beside.evening(day, is_silent=is_silent)

            asking = threading.Thread(target=go_on)
            asking.start()
            try:
                report, trained = check_and_retrain(settings, day=panel.dates[LIVE + number])
            finally:
                stop.set()
                asking.join()
            client.failed += beside.failed
            if found := flagged(report):
                events.append({"day": number, "found": found})
            if report.alarms:
                events.append({"day": number, "alarms": list(report.alarms)})
            incidents = {row["key"] for row in open_incidents(store)}
            events += [{"day": number, "opened": key} for key in sorted(incidents - told)]
            events += [{"day": number, "ended": key} for key in sorted(told - incidents)]
            told = incidents
            if trained is not None:
                events.append({"day": number, "trained": trained.status, "why": trained.reason})
            if trained is not None and trained.promoted:
                for _ in range(100):  # served within ten seconds
                    client.evening(LIVE + number, is_silent=is_silent)
                    if client.version == trained.version:
                        break
                    time.sleep(0.1)
                events.append({"day": number, "served": client.version})
    found = {"change": change, "silence": silence, "timeline": timeline, "events": events}
    found["failed"] = client.failed
    return {"summary": summary(found, panel)} | found


def flagged(report: Report) -> list[str]:
    """What a check found, whether or not it has lasted long enough to alarm."""
    parts = [report.accuracy, *([report.drift] if report.drift else [])]
    return [name for part in parts for name in part.consecutive_flags]


def has_gap(panel: Panel, day: int) -> bool:
    """Whether the truth of a series is missing for three days up to a day of the service."""
    values = panel.values.reshape(panel.n_series, DAYS)[:, : LIVE + day + 1]
    return bool(np.isnan(values[:, -3:]).all(axis=1).any())


def summary(found: dict, panel: Panel) -> dict:
    """What has to be looked at, as numbers; None for what did not happen."""
    change, silence, events = found["change"], found["silence"], found["events"]
    back = silence + SILENT_DAYS

    def first(name: str, **wanted: object) -> int | None:
        days = (
            event["day"]
            for event in events
            if name in event
            and event["day"] >= change
            and all(event[key] == value for key, value in wanted.items())
        )
        return next(days, None)

    error = np.array([row["mae"] for row in found["timeline"]])
    opened = [(event["day"], event["opened"]) for event in events if "opened" in event]
    of_change = [d for d, key in opened if 0 < change <= d and not key.startswith("evidence")]
    of_silence = [d for d, key in opened if 0 < silence <= d <= back and key == "evidence truth"]
    gaps = [d for d, key in opened if key == "evidence series truth" and has_gap(panel, d)]
    ended = [(event["day"], event["ended"]) for event in events if "ended" in event]
    silent = {
        "silence": silence,
        "silence_told": min(of_silence, default=None),
        "closed_in_silence": sum(silence <= day < back for day, _ in ended),
        "silence_over": next((d for d, key in ended if d >= back and "truth" in key), None),
    }
    return {
        "change": change or None,
        "found": first("found") if change else None,
        "told": min(of_change, default=None),
        **(silent if silence else {}),
        "trained": sum("trained" in event for event in events),
        "served": first("served"),
        "ended": max((day for day, _ in ended), default=None),
        "series_missed": len(gaps),
        "false_alarms": len(opened) - len(of_change) - len(of_silence) - len(gaps),
        "failed_requests": len(found["failed"]),
        "mae_before": float(np.nanmean(error[:change])) if change else None,
        "mae_of_two_weeks_after": float(np.nanmean(error[change : change + 14])),
        "mae_last_60_days": float(np.nanmean(error[-60:])),
    }


def draw(found: dict, path: Path) -> None:
    """MAE of the next day, a week's mean, with what happened."""
    days = [row["day"] for row in found["timeline"]]
    error = np.array([row["mae"] for row in found["timeline"]], dtype=float)
    smooth = np.convolve(np.nan_to_num(error, nan=float(np.nanmean(error))), np.ones(7) / 7, "same")
    figure, axis = plt.subplots(figsize=(10, 3.6), layout="constrained")
    axis.plot(days, error, color="#cbd5e1", lw=0.8, label="MAE of the next day")
    axis.plot(days[3:-3], smooth[3:-3], color="#c2410c", lw=1.8, label="mean of a week")
    if found["change"]:
        axis.axvline(found["change"], color="#1f2933", ls="--", label="the world changes")
    if found["silence"]:
        until = found["silence"] + SILENT_DAYS
        axis.axvspan(found["silence"], until, color="#e2e8f0", zorder=0, label="no truth comes")
    marks = (("#ca8a04", "alarms", 0.04), ("#2563eb", "trained", 0.10), ("#15803d", "served", 0.16))
    for colour, name, height in marks:
        at = [event["day"] for event in found["events"] if name in event]
        where = axis.get_xaxis_transform()
        high = np.full(len(at), height)
        axis.plot(at, high, "|", ms=10, mew=2, color=colour, label=name, transform=where)
    axis.set(xlabel="day of the service", ylabel="MAE (units of the series)", ylim=(0, None))
    axis.legend(ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--series", type=int, default=8, help="(default %(default)s)")
    add("--days", type=int, default=364, help="of service (default %(default)s)")
    add("--change", type=int, default=150, help="day of the change, 0 for none (%(default)s)")
    add("--silence", type=int, default=0, help="day from which no truth comes for 30 days, 0: none")
    add("--every", type=int, default=2, help="days between checks (default %(default)s)")
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=ROOT / "var" / "simulation")
    asked = parser.parse_args()
    configure_logging("WARNING")
    shutil.rmtree(asked.out, ignore_errors=True)
    asked.out.mkdir(parents=True)
    options = {name: getattr(asked, name) for name in NAMES}
    started = time.monotonic()
    found = simulate(asked.out.resolve(), **options)
    found["summary"]["seconds"] = round(time.monotonic() - started)
    (asked.out / "timeline.json").write_text(json.dumps(found, indent=1))
    draw(found, asked.out / "timeline.png")
    for event in found["events"]:
        print(event)
    print(json.dumps(found["summary"], indent=1))
    print(f"{time.monotonic() - started:.0f} seconds")
    for line in found["failed"][:5]:
        print(line)


if __name__ == "__main__":
    main()
