#!/bin/sh
# install-hashed FOLDER PYTHON [OPTION of pip install…]: what FOLDER/list.txt (of `deploy/pins.py`)
# holds into the environment of PYTHON. A file that is not as the lock has it is refused, and nothing
# is installed beside the list. PIP_PYTHON is the Python that has pip, by default the same.
#   FOLDER/cpu.txt, if there: PyTorch's CPU build, where PIP_FIND_LINKS or pip's settings have it
#   FOLDER/cuda.txt, if there: what another torch needs to be imported
set -eu
folder=$1 python=$2
shift 2
install() {
  "${PIP_PYTHON:-$python}" -m pip --disable-pip-version-check --python "$python" install \
    --require-hashes --no-deps "$@"
}
if [ -e "$folder/cpu.txt" ]; then
  install "$@" --quiet --no-index --requirement "$folder/cpu.txt" 2>/dev/null || true
fi
install "$@" --requirement "$folder/list.txt"
if [ -e "$folder/cuda.txt" ] && ! "$python" -c 'import torch' 2>/dev/null; then
  install "$@" --requirement "$folder/cuda.txt"
fi
"${PIP_PYTHON:-$python}" -m pip --disable-pip-version-check --python "$python" check
