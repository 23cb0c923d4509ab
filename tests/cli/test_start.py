"""Starting is quick, and `codec`, `python -m codec` and the installed version are one thing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

from tests.cli.conftest import run_codec

HEAVY = ("torch", "librosa", "numba", "gradio", "torchmetrics", "scipy", "tensorboard")


def test_help_imports_nothing_heavy() -> None:
    script = "import sys; from codec.cli import main; main(['encode', '--help']); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.splitlines()[-1].split())
    assert loaded.isdisjoint(HEAVY), loaded & set(HEAVY)


def test_a_file_is_looked_into_without_anything_heavy(tmp_path) -> None:
    (tmp_path / "none.vqc").write_bytes(b"nothing")
    script = f"""import sys
from codec.cli import main
main(["info", {str(tmp_path / "none.vqc")!r}])
print(*sys.modules)"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.splitlines()[-1].split())
    assert "codec.files.info" in loaded and loaded.isdisjoint(HEAVY), loaded & set(HEAVY)


def test_version_is_that_of_the_distribution() -> None:
    result = run_codec("--version")
    assert (result.returncode, result.stdout.decode()) == (0, f"codec {version('vq-codec')}\n")


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m codec --help | head -n 1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False)
    assert b"Traceback" not in result.stderr
