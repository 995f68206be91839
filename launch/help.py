"""Writes the page of `--help`: the available parts, and a line for each setting."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from textwrap import wrap
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from policies.memory.registry import MEMORIES
from policies.sam2act.choices import MemoryKind

CONFIGS = Path(__file__).parents[1] / "sim_configs"
SCHEMA = "_schema"
OWN_GROUPS = "training"  # Folders of groups that belong to one command.
WIDTH = 119
NAMES = 38
_COMMENT = re.compile(r"^( *)([A-Za-z_]\w*):.*?(?:\s{2,}#\s*(.*))?$")
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*)$")


def help_page(name: str, *, _root_: DictConfig) -> str:
    """Returns the groups and the settings of the composed `_root_` of sim_configs/`name`.yaml, as text.

    Sections within sections take one line each. Explanations come from the comments of the YAML files and from the
    `Attributes` of the dataclasses.
    """
    chosen = {str(group): choice for group, choice in _root_.hydra.runtime.choices.items()}
    groups = {group: choice for group, choice in chosen.items() if not group.startswith("hydra/")}
    comments = _comments(CONFIGS / f"{name}.yaml", "")
    for group, choice in groups.items():
        for folder in (CONFIGS, CONFIGS / OWN_GROUPS):
            comments |= _comments(folder / group / f"{choice}.yaml", f"{group}.")
    lines = [f"  {group}: {', '.join(_options(group))}" for group in sorted(groups)]
    lines += _memories(_root_)
    head = ["Parts, chosen by name=PART:", "", *lines, ""] if lines else []
    fold = name == "bench"  # A benchmark reads only one of the many sections.
    settings = [*head, "Settings, changed by name=VALUE:", "", *_section(_root_, "", comments, fold=fold)]
    # Hydra fills this text into a template.
    return "\n".join(settings).replace("$", "$$")


def _memories(root: DictConfig) -> list[str]:
    """Returns the kinds of memory of a policy that has one, and the settings of those from outside."""
    policy = root.get("policy")
    if not isinstance(policy, DictConfig) or OmegaConf.select(policy, "memory.kind") is None:
        return []
    lines = [f"  policy.memory.kind: {', '.join(sorted({str(MemoryKind.off), *MEMORIES}))}"]
    for name, kind in MEMORIES.sound().items():
        if MEMORIES.outside(name) and fields(kind):
            settings = [f"policy.memory.options.{one.name}={_default(one)}" for one in fields(kind)]
            lines.append(f"    for {name}: {' '.join(settings)}")
    return lines


def _default(one: Field[Any]) -> str:
    made = one.default if one.default_factory is MISSING else one.default_factory()
    return "???" if made is MISSING else str(made)


def explanations(kind: type[Any]) -> dict[str, str]:
    """Returns the explanation of each attribute in the docstrings of a dataclass and of its bases, in one line each."""
    found: dict[str, str] = {}
    for base in kind.__mro__:
        name, inside = "", False
        for line in inspect.cleandoc(base.__doc__ or "").splitlines():
            inside = line == "Attributes:" or (inside and (not line or line.startswith(" ")))
            if inside and (match := _ATTRIBUTE.match(line)) is not None:
                name = match[1]
                found.setdefault(name, match[2])
            elif inside and name and line.startswith(" " * 8):
                found[name] = f"{found[name]} {line.strip()}"
    return found


def _section(node: DictConfig, path: str, comments: Mapping[str, str], *, fold: bool) -> Iterator[str]:
    """Yields the lines of a section: first its settings, then its sections, which `fold` shows by name alone."""
    kind = OmegaConf.get_type(node)
    explained = explanations(kind) if is_dataclass(kind) else {}
    keys = [str(key) for key in node if f"{path}{key}" != "hydra"]
    sections = [key for key in keys if _is_section(node._get_node(key))]
    for key in keys:
        if key not in sections and not _is_empty_part(node._get_node(key)):
            why = comments.get(f"{path}{key}") or explained.get(key, "")
            yield _line(f"{path}{key}={_value(node._get_node(key))}", why)
    for key in sections:
        child: Any = node._get_node(key)
        if path or fold:
            yield from _folded(f"{path}{key}.*", [str(name) for name in child])
        else:
            yield ""
            yield from _section(child, f"{key}.", comments, fold=True)


def _is_empty_part(node: Any) -> bool:
    """Whether a part has no settings, unlike a mapping to which settings may be added."""
    return isinstance(node, DictConfig) and is_dataclass(OmegaConf.get_type(node)) and not len(node)


def _is_section(node: Any) -> bool:
    return isinstance(node, DictConfig) and not node._is_none() and not node._is_missing() and len(node) > 0


def _value(node: Any) -> str:
    """Returns a value as it is typed."""
    if node._is_missing():
        return "???"
    if node._is_interpolation():
        return str(node._value())
    value = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node._value()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list):
        return f"[{','.join(str(item) for item in value)}]"
    named = {None: "null", True: "true", False: "false", "": "''"}
    return named[value] if isinstance(value, bool | str | None) and value in named else str(value)


def _line(setting: str, why: str) -> str:
    text = f"  {setting:<{NAMES}}  {why}".rstrip()
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 4].rstrip(' ,')} ..."


def _folded(section: str, names: Sequence[str]) -> Iterator[str]:
    """Yields the names of the settings of a section, wrapped to the width."""
    rows = wrap(", ".join(names), WIDTH - NAMES - 4, break_long_words=False)
    yield from (_line(section if not at else "", row) for at, row in enumerate(rows))


def _options(group: str) -> list[str]:
    """Returns the parts of a group: those with a file, and those that packages from outside have added."""
    files = [path.stem for folder in (CONFIGS, CONFIGS / OWN_GROUPS) for path in (folder / group).glob("*.yaml")]
    try:
        stored = [entry.removesuffix(".yaml") for entry in ConfigStore.instance().list(group)]
    except OSError:
        stored = []  # All parts of the group have files.
    return sorted({name for name in [*files, *stored] if not name.endswith(SCHEMA)})


def _comments(path: Path, prefix: str) -> dict[str, str]:
    """Returns the comments behind the settings of a YAML file, by the path of the setting."""
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        match = _COMMENT.match(line)
        if match is None:
            continue
        depth, key, comment = len(match[1]), match[2], match[3]
        above = [(outer, name) for outer, name in above if outer < depth]
        if comment:
            found[prefix + ".".join([*(name for _, name in above), key])] = comment
        above.append((depth, key))
    return found
