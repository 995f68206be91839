"""The names of a policy server: the content of each key of its requests, and the columns of its answers.

A file of names is YAML. It chooses among the options listed here and cannot name code::

    version: 1
    robot: panda
    request:
      observation/image: {image: front, size_px: [224, 224]}
      observation/state: {numbers: [tool_position, tool_axis_angle, {of: gripper, scale: 0.04}]}
      prompt: {text: instruction}
    answer:
      key: actions
      space: ee_delta
      rate_hz: 20
      clip: true
      fields:
        translation: {column: 0, scale: 0.05}
        rotation: {column: 3, scale: 0.5}
        gripper: {column: 6, scale: -0.5, offset: 0.5}
"""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import yaml

from embodied.errors import ConfigError, unknown_name
from embodied.paths import confined
from embodied.robots.model_file import is_model_path, load_robot

SHIPPED = Path(__file__).parent
VERSION = 1
MOST_BYTES = 64 * 1024
NUMBERS = ("joints", "tool_position", "tool_axis_angle", "tool_rpy", "tool_quaternion", "gripper", "base")
FORMS = ("", "rpy", "axis_angle", "quaternion")
TEXTS = ("instruction",)
FLAGS = ("first_step",)


class Numbers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some numbers of a state: those called `of` (see `NUMBERS`), times `scale`, plus `offset`."""

    of: str
    scale: float = 1.0
    offset: float = 0.0


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of one key of a request: exactly one of the first six fields.

    `image` and `depth_m` name a camera; `size_px` (height, width) resizes with padding. `numbers` are concatenated to
    one float32 vector. With `each` the key holds a list: one item for each observation since the last request.
    """

    image: str = ""
    depth_m: str = ""
    numbers: tuple[Numbers | str, ...] = ()
    text: str = ""
    flag: str = ""
    memory: bool = False
    size_px: tuple[int, int] | None = None
    each: bool = False


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The position of an action's field in a row of the server: each of its numbers times `scale`, plus `offset`.

    `form` is the representation of a rotation, "" for that of the action space.
    """

    column: int
    scale: float = 1.0
    offset: float = 0.0
    form: str = ""


class AnswerLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The actions in an answer: rows of `key` ("" if the answer is a bare array) in a space of ours.

    Rows are clipped to the bounds of the space if `clip` is true, otherwise refused. `moments` is the key of the
    moments to store in a bank, "" for none.
    """

    space: str
    fields: dict[str, Columns]
    key: str = "actions"
    rate_hz: float = 20.0
    clip: bool = False
    moments: str = ""


class ServerNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The checked content of a file of names. `robot` is a name, or the path of a model file."""

    version: int
    robot: str
    request: dict[str, Entry]
    answer: AnswerLayout

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras that requests show, each once."""
        return tuple(dict.fromkeys(name for one in self.request.values() for name in (one.image, one.depth_m) if name))

    @property
    def each(self) -> bool:
        """Whether requests hold all observations since the last one."""
        return any(entry.each for entry in self.request.values())


def load_names(name: str, root: str) -> tuple[ServerNames, str]:
    """Returns the names called `name` (`libero`, `robomme`), or those of the file at the path `name` below `root`.

    A robot that is a model file lies below `root` as well; its path is absolute afterwards. The second value is the
    SHA-256 of the file, and of the robot's files where it has some. Raises `UnknownNameError`, `PathError` for a file
    outside `root`, `ConfigError` for one that does not fit `ServerNames`, and `RobotModelError`.
    """
    shipped = {path.stem: path for path in SHIPPED.glob("*.yaml")}
    if name not in shipped and not name.endswith((".yaml", ".yml")):
        raise unknown_name("set of names of a policy server", name, [*shipped, "FILE.yaml"])
    path = shipped[name] if name in shipped else confined(Path(root), name)
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ConfigError(f"A file of names must have at most {MOST_BYTES} bytes.", value=name)
    names, digest = _parsed(content, name), hashlib.sha256(content)
    if is_model_path(names.robot):
        file = str(confined(Path(root), names.robot))
        digest.update(load_robot(file).files_sha256.encode())
        names = msgspec.structs.replace(names, robot=file)
    return names, digest.hexdigest()


def _parsed(content: bytes, name: str) -> ServerNames:
    try:
        plain: Any = yaml.safe_load(content)
        names = msgspec.convert(plain, ServerNames)
    except yaml.YAMLError as error:
        raise ConfigError("A file of names must be YAML.", value=name, remedy=f"{error}"[:300]) from error
    except (msgspec.ValidationError, RecursionError) as error:
        raise ConfigError(
            "A file of names must have the entries that `policies.remote.names` describes, and no others.",
            value=name,
            remedy=f"{error}.",
        ) from error
    _check(names, name)
    return names


def _check(names: ServerNames, name: str) -> None:
    if names.version != VERSION:
        raise ConfigError(f"A file of names must be of version {VERSION}.", value=(name, names.version))
    if not names.request:
        raise ConfigError("A file of names must have at least one key of a request.", value=name)
    for key, entry in names.request.items():
        _check_entry(key, entry)
    if not names.answer.rate_hz > 0.0:
        raise ConfigError("The rate of actions must be positive.", value=names.answer.rate_hz)
    for field, columns in names.answer.fields.items():
        if columns.column < 0:
            raise ConfigError(f"Field {field!r} must begin at column 0 or later.", value=columns.column)
        if columns.form not in FORMS:
            raise unknown_name(f"form of field {field!r}", columns.form, FORMS)


def _check_entry(key: str, entry: Entry) -> None:
    given = [entry.image, entry.depth_m, entry.numbers, entry.text, entry.flag, entry.memory]
    if sum(map(bool, given)) != 1:
        raise ConfigError(
            f"Key {key!r} must hold exactly one of image, depth_m, numbers, text, flag and memory.", value=key
        )
    for known, chosen, kind in ((TEXTS, entry.text, "text"), (FLAGS, entry.flag, "flag")):
        if chosen and chosen not in known:
            raise unknown_name(f"{kind} of a request", chosen, known)
    for part in entry.numbers:
        of = part if isinstance(part, str) else part.of
        if of not in NUMBERS:
            raise unknown_name("kind of numbers of a request", of, NUMBERS)
    if entry.size_px is not None and not (entry.image and all(0 < length <= 4096 for length in entry.size_px)):
        raise ConfigError(f"Key {key!r} must be an image to have a size, of 1 to 4096 pixels.", value=entry.size_px)
    if entry.each and (entry.text or entry.flag or entry.memory):
        raise ConfigError(f"Key {key!r} must be an image, depth or numbers to be a list.", value=key)
