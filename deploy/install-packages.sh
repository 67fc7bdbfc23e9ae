#!/bin/sh
# install-packages LIST: the wheels of a requirements file into /opt/venv, compiled, without what
# no image runs: test suites, what compilers and type checkers read, and of ONNX Runtime what makes
# graphs and the library for C programs.
set -eu
[ -x /opt/venv/bin/python ] || python -m venv --without-pip /opt/venv
python -m pip --python /opt/venv/bin/python install --no-compile --only-binary :all: \
  --disable-pip-version-check --root-user-action ignore --requirement "$1"
cd /opt/venv/lib/python3.11/site-packages
find . -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.[ach]' -o -name '*.hpp' \) \
  -delete
rm -rf onnxruntime/capi/libonnxruntime.so.* onnxruntime/quantization onnxruntime/transformers \
  onnxruntime/tools
# By hash instead of by time: what is compiled stays valid when a layer is re-dated. Templates of
# Python code are among the files, which do not compile. Databricks' calls stay as they are: they
# are read where MLFLOW_TRACKING_URI is databricks, and nowhere else.
python -m compileall -q -x '/databricks/sdk/service/' --invalidation-mode unchecked-hash . \
  >/dev/null || true
