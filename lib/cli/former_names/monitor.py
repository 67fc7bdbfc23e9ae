"""Stand in for `python -m lib.monitor`, which is `lstm-forecast check` now."""

from lib.pipeline.check import main

if __name__ == "__main__":
    raise SystemExit(main())
