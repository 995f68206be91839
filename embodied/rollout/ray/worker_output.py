"""What workers print: each writes its stdout and stderr to a file of its own in the output folder of the run."""

import logging
import os
import sys
from io import TextIOWrapper
from pathlib import Path

SIMULATOR_FILES, POLICY_FILES = "worker-{}.txt", "policy-worker-{}.txt"


def redirect_output(folder: str, name: str) -> None:
    """Appends all that this process prints or logs from now on to the file `name` in `folder`.

    Nothing is changed where `folder` is "" or lies in a folder that this machine does not have, as on another node.
    """
    if not folder or not Path(folder).parent.is_dir():
        return
    Path(folder).mkdir(exist_ok=True)
    file = os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for own, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        own.flush()
        os.dup2(file, descriptor)
    os.close(file)
    for stream, descriptor in (("stdout", 1), ("stderr", 2)):
        setattr(sys, stream, TextIOWrapper(os.fdopen(os.dup(descriptor), "wb", 0), write_through=True))
    logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s: %(message)s", stream=sys.stderr, force=True)


def remove_empty_files(folder: str) -> None:
    """Removes the files of workers that have printed nothing, and `folder` where it is then empty."""
    if not folder or not Path(folder).is_dir():
        return
    for files in (SIMULATOR_FILES, POLICY_FILES):
        for file in Path(folder).glob(files.format("*")):
            if file.stat().st_size == 0:
                file.unlink()
    if not any(Path(folder).iterdir()):
        Path(folder).rmdir()
