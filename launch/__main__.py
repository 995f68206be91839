"""Lists the commands: `python -m launch`."""

import ast
import sys
from pathlib import Path

REFUSED = 2


def commands() -> dict[str, str]:
    """Returns the name of every command, and the first sentence of its module."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text())
        named = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if "main" in named and path.stem != "__main__":
            first = (ast.get_docstring(tree) or "").splitlines()[0]
            found[path.stem] = f"{first.partition(':')[0].rstrip('.')}."
    return found


def main() -> int:
    """Prints the commands and returns the exit code: not 0 where a command was named."""
    found = commands()
    width = max(len(name) for name in found)
    lines = [f"  python -m launch.{name:<{width}}  {sentence}" for name, sentence in found.items()]
    text = "\n".join(["The commands:", "", *lines, "", "--help after a command explains its settings.", ""])
    if not sys.argv[1:] or sys.argv[1] in ("--help", "-h"):
        sys.stdout.write(text)
        return 0
    asked = sys.argv[1]
    wanted = f"python -m launch.{asked} ..." if asked in found else "one of the following"
    sys.stderr.write(f"ConfigError: A command must be named after a dot. Got {asked!r}. Run {wanted}.\n")
    if asked not in found:
        sys.stderr.write(f"{text}")
    return REFUSED


if __name__ == "__main__":
    raise SystemExit(main())
