#!/bin/sh
# trim-base: takes away what none of our images runs, and compiles the standard library: bases come
# without, and on a root that is read-only every start would compile it anew.
set -eu
library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
rm -rf /usr/share/doc /usr/share/locale /usr/share/man /usr/share/info \
  /usr/lib/*-linux-gnu/gconv \
  /var/lib/apt/lists/* /var/cache/* /var/log/* \
  /usr/local/bin/pip* /usr/local/include /usr/local/lib/python3*/*-packages/*
cd "$library"
rm -rf ensurepip idlelib lib2to3 pydoc_data tkinter turtledemo test ./*/test ./*/tests config-3*
find . -name __pycache__ -prune -exec rm -rf {} +
python3 -m compileall -q --invalidation-mode unchecked-hash .
