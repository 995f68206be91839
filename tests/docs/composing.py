"""Composes the settings of many calls of one command in one process: `python -m tests.docs.composing COMMAND < JSON`.

Commands share groups of settings by name, so each needs a process of its own.
"""

import contextlib
import importlib
import io
import json
import sys


def refusal(main, command: str, settings: list[str]) -> str:
    """Returns what the command says against the settings, "" where it accepts them."""
    sys.argv = [command, *settings] if "--help" in settings else [command, *settings, "--cfg", "job"]
    errors = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            main()
    except SystemExit as ended:
        return errors.getvalue() if ended.code else ""
    return ""


if __name__ == "__main__":
    name = sys.argv[1]
    calls, out = json.load(sys.stdin), sys.stdout
    run = importlib.import_module(f"launch.{name}").main
    print("\n" + json.dumps([refusal(run, name, settings) for settings in calls]), file=out)
