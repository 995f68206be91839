"""What workers print: each writes its stdout and stderr to a file of its own in the output folder of the run."""

import logging
import os
import sys
from io import TextIOWrapper
from pathlib import Path

FILES = "worker-{}.txt"


def redirect_output(folder: str, number: int) -> None:
    """Appends all that this process prints or logs from now on to the file of worker `number` in `folder`.

    Nothing is changed where `folder` is "" or lies in a folder that this machine does not have, as on another node.
    """
    if not folder or not Path(folder).parent.is_dir():
        return
    Path(folder).mkdir(exist_ok=True)
    file = os.open(Path(folder) / FILES.format(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.flush()
        os.dup2(file, descriptor)
    os.close(file)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        setattr(sys, name, TextIOWrapper(os.fdopen(os.dup(descriptor), "wb", 0), write_through=True))
    logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s: %(message)s", stream=sys.stderr, force=True)


def remove_empty_files(folder: str) -> None:
    """Removes the files of workers that have printed nothing, and `folder` where it is then empty."""
    if not folder or not Path(folder).is_dir():
        return
    for file in Path(folder).glob(FILES.format("*")):
        if file.stat().st_size == 0:
            file.unlink()
    if not any(Path(folder).iterdir()):
        Path(folder).rmdir()
