"""Stand in for `python -m lib.batch`, which is `python -m lib.pipeline.batch_forecast` now."""

from lib.pipeline.batch_forecast import main

if __name__ == "__main__":
    raise SystemExit(main())
