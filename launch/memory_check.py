"""Checks the file of a memory bank, and saves what is sound of a damaged one."""

from pathlib import Path

from embodied.memory import Ownership, inspect_file, open_bank, rescue
from launch.memory_output import CommandAnswer, path_text


def checked(path: Path, url: str, *, root: Path | None, output: Path | None) -> CommandAnswer:
    """Returns what is wrong with the file at `path`; its document says whether it is `sound`.

    Args:
        path: The file.
        url: Its URL, for the commands in the answer.
        root: The folder that confines it, None for any.
        output: A new file for the longest intact prefix of a damaged log, None where that is only offered.
    """
    owner = Ownership(path)
    try:
        damage = inspect_file(path)
    finally:
        owner.release()
    if not damage.problems:
        return _with_projections(path, url, root)
    lines = [f"{path.name} is damaged:", *(f"  {problem}" for problem in damage.problems)]
    document = {"sound": False, "problems": damage.problems, "sound_events": damage.sound_seq, "output": None}
    if not damage.sound_seq:
        lines.append("No event before the damage can be read.")
    elif output is not None:
        rescue(path, output)
        lines.append(f"Events 1 to {damage.sound_seq} are sound; they are in {output} now.")
        document["output"] = path_text(output)
    else:
        target = path.with_name(f"{path.stem}-sound{path.suffix}")
        again = f"python -m launch.memory verify url={url} output={target}"
        lines.append(f"Events 1 to {damage.sound_seq} are sound. To save them into a new file:\n  {again}")
    return CommandAnswer(lines, document)


def _with_projections(path: Path, url: str, root: Path | None) -> CommandAnswer:
    """Returns the answer for a file whose log is sound."""
    with open_bank(url, root=root, thorough=False) as bank:
        problems, head = bank.verify().problems, bank.head
    document = {"sound": not problems, "problems": problems, "sound_events": head, "output": None}
    if not problems:
        line = f"{path.name} is sound: {head} events, chained digests, and projections as the log gives them."
        return CommandAnswer([line], document)
    again = f"`python -m launch.memory rebuild url={url}` makes the projections again."
    return CommandAnswer([*problems, f"The log is sound. {again}"], document)
