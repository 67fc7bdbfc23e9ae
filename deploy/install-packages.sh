#!/bin/sh
# install-packages: the wheels of /lists into /opt/venv, each checked by its hash, compiled, without
# what no image runs: test suites, what compilers and type checkers read or are called by, and of ONNX
# Runtime what makes graphs and the library for C programs.
set -eu
[ -x /opt/venv/bin/python ] || python -m venv --without-pip /opt/venv
PIP_PYTHON=python sh /usr/local/bin/install-hashed /lists /opt/venv/bin/python \
  --no-compile --only-binary :all: --root-user-action ignore
cd /opt/venv/lib/python3.11/site-packages
find . -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.[ach]' -o -name '*.hpp' \) \
  -delete
rm -rf onnxruntime/capi/libonnxruntime.so.* onnxruntime/quantization onnxruntime/transformers \
  onnxruntime/tools numpy/f2py numpy/distutils sqlalchemy/testing alembic/testing
# By hash instead of by time: what is compiled stays valid when a layer is re-dated. Templates of
# Python code are among the files, which do not compile. Databricks' calls stay as they are: they
# are read where MLFLOW_TRACKING_URI is databricks, and nowhere else.
python -m compileall -q -x '/databricks/sdk/service/' --invalidation-mode unchecked-hash . \
  >/dev/null || true
