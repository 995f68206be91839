"""A virtual environment with packages that this project does not depend on, on top of those that run the tests."""

import subprocess
import sysconfig
import venv
from pathlib import Path


def environment_with(folder: Path, *packages: str) -> Path:
    """Returns the interpreter of a new environment in `folder`: ours, and `packages` from the registry."""
    venv.create(folder, with_pip=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    ours = sysconfig.get_path("purelib")
    (site / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")  # Follows its .pth files as well.
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True, timeout=900)
    return python
