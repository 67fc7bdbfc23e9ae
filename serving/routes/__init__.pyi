__all__ = ["actuals", "docs", "explanations", "forecasts", "pages", "status"]

from . import actuals, docs, explanations, forecasts, pages, status
