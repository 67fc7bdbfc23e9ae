"""The command line of earlier versions, `python -m serving.run`: see `serving.server`."""

from serving.server import main

if __name__ == "__main__":
    raise SystemExit(main())
