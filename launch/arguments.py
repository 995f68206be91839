"""Reads the command line before Hydra does: the modules to import, and the parts from outside that it names."""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embodied.errors import ConfigError
from embodied.plugins import import_modules, named_modules, source_digest

OVERRIDE = re.compile(r"[+~]{0,2}([A-Za-z_][\w./@:-]*)=(.*)", re.DOTALL)
NAME = re.compile(r"[A-Za-z_][\w.-]*")
# Options of Hydra that show settings, or read them from other files: they may concern any part.
SHOWING = {"--help", "-h", "--cfg", "-c", "--info", "-i"} | {"--config-dir", "-cd", "--config-name", "-cn"}
PLUGINS = "plugins"


@dataclass(frozen=True)
class Arguments:
    """The arguments of a command line, without the program and without `plugins=`."""

    given: tuple[str, ...] = ()

    @property
    def show_all(self) -> bool:
        """Whether all available parts are needed: for help, and for settings in the user's own files."""
        return any(argument.partition("=")[0] in SHOWING for argument in self.given)

    def settings(self) -> Iterator[tuple[str, str]]:
        """Yields the key and the value of each setting, as text."""
        for argument in self.given:
            if (match := OVERRIDE.fullmatch(argument)) is not None:
                yield match[1], match[2]

    def names(self, key: str) -> set[str]:
        """Returns the names in the values of the setting `key`, such as a and b in key=[a,b]; sweeps count too.

        A part `*` of `key` stands for any one name.
        """
        pattern = re.compile(re.escape(key).replace(r"\*", r"[^.=]+"))
        return {name for own, value in self.settings() if pattern.fullmatch(own) for name in NAME.findall(value)}


def take_arguments() -> Arguments:
    """Takes `plugins=[...]` from the command line of this process, imports those modules, and returns what is left.

    Raises `ConfigError` for a value that names no modules, and `PluginError` for modules that cannot be used.
    """
    own = [argument for argument in sys.argv[1:] if argument.partition("=")[:2] == (PLUGINS, "=")]
    for argument in own:
        import_modules(_modules(argument.partition("=")[2]))
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument not in own]
    return Arguments(tuple(sys.argv[1:]))


def plugins_record() -> str:
    """Returns the modules named by `plugins=` as comments for a file of settings; they are never read back.

    "" where none was named.
    """
    return "".join(f"# {PLUGINS}=[{name}]  SHA-256 of its source: {source_digest(name)}\n" for name in named_modules())


def names_of(value: object, setting: str) -> list[str]:
    """Returns the names in the value of `setting`: a list, or one name. Raises `ConfigError` for anything else."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"The setting {setting!r} must be a name or a list of names, such as '[expert,guesser]'.",
            value="null" if value is None else value,
        )
    return names


def _modules(value: str) -> Sequence[str]:
    names = [name.strip().strip("'\"") for name in value.strip().removeprefix("[").removesuffix("]").split(",")]
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(
                "plugins must name Python modules.",
                value=value,
                remedy="Write plugins=[my_module] or plugins=[my_package.my_module,other_module].",
            )
    return names
