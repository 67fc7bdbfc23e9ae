"""Commands of earlier releases go on working."""

import subprocess
import sys

import pytest

from lib.settings import ROOT


@pytest.mark.parametrize(("module", "option"), [("lib.monitor", "--day"), ("lib.batch", "--out")])
def test_command_of_an_earlier_release_is_there(module, option):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert option in done.stdout
