"""Check the model that is served, alert, and retrain: `python -m lib.pipeline.check --help`.

The check reads stored forecasts and actuals and keeps its report in the table of checks. Where it
recommends retraining and AUTO_RETRAIN allows it, a challenger is trained, which goes through the
gate like any other.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict

import numpy as np
import structlog

from lib.log import configure_logging
from lib.monitoring import (
    MonitorError,
    NoActualError,
    Report,
    RetrainingPolicy,
    reason_to_wait,
    report_retraining,
    run_check,
)
from lib.pipeline.retraining import Retraining, last_rejected_day, retrain
from lib.pipeline.retraining_data import RetrainingError, held_out
from lib.settings import Settings, SettingsError, get_settings
from lib.storage import Store, StoreError

log = structlog.get_logger()


def check_and_retrain(
    settings: Settings, *, day: np.datetime64 | None = None, may_retrain: bool = True
) -> tuple[Report, Retraining | None]:
    """Check the production model, and train a challenger where that is recommended.

    Args:
        settings: of the check and the retraining.
        day: the last day to check; by default the last one with an actual.
        may_retrain: False only checks and alerts, even where `auto_retrain` is set.

    Returns:
        The report, and the retraining; None where there was none.

    Raises:
        MonitorError: there is no production model, or no actual yet.
        StoreError: the database cannot be used.
    """
    with closing(Store.of(settings)) as store:
        return _check_and_retrain(store, settings, day, may_retrain)


def _check_and_retrain(
    store: Store, settings: Settings, day: np.datetime64 | None, may_retrain: bool
) -> tuple[Report, Retraining | None]:
    report = run_check(settings, store, day=day)
    if not report.recommendation.retrain:
        report_retraining(store, settings, "")
        return report, None
    if not (may_retrain and settings.auto_retrain):
        return report, None
    if reason := _reason_to_wait(store, settings, report):
        log.info("no retraining yet", reason=reason)
        return report, None
    outcome = retrain(store, settings)
    if outcome.status != "busy":
        problem = outcome.reason if outcome.status == "failed" else ""
        report_retraining(store, settings, problem)
    return report, outcome


def _reason_to_wait(store: Store, settings: Settings, report: Report) -> str:
    try:
        held_out_days = held_out(settings)
    except RetrainingError:
        held_out_days = None  # the retraining will fail by it, and name it
    return reason_to_wait(
        report.recommendation,
        RetrainingPolicy.of(settings),
        last_rejected=last_rejected_day(store),
        held_out_days=held_out_days,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 (checked, or no actual yet), 1 (no model) or 2 (settings)."""
    parser = argparse.ArgumentParser(prog="python -m lib.pipeline.check", description=__doc__)
    parser.add_argument("--day", help="last day to check (default: the last one with an actual)")
    parser.add_argument("--no-retraining", action="store_true", help="only check and alert")
    options = parser.parse_args(arguments)
    try:
        day = np.datetime64(options.day, "D") if options.day else None
        settings = get_settings()
        configure_logging(settings.log_level, settings.log_format)
        report, retraining = check_and_retrain(
            settings, day=day, may_retrain=not options.no_retraining
        )
    except NoActualError as error:
        # Before the first actual there is nothing to check, and nothing wrong.
        sys.stdout.write(json.dumps({"checked": False, "reason": str(error)}, indent=1) + "\n")
        return 0
    except (MonitorError, StoreError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    document = report.to_json() | {"retraining": asdict(retraining) if retraining else None}
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
