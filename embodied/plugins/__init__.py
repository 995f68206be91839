"""Parts from outside: those that installed packages offer, and those of modules that a command line names.

A package offers parts as entry points of its `pyproject.toml`, in one group for each kind of part::

    [project.entry-points."embodied.policies"]
    my_policy = "my_package.policies:MyPolicyConfig"

A module that is not installed offers them in a constant, which `plugins=[my_module]` on a command line reads::

    EMBODIED = {"policies": {"my_policy": MyPolicyConfig}, "tasks": {"my_task": MyTask}}

`tasks` are dataclasses that are their own config, each also a suite of its own name; `suites` are `tasks.suite.Suite`;
`robots` are `robots.robot.RobotModel` or the path of a model file; `simulators`, `policies`, `memories`, `learners` and
`planners` are config dataclasses with `build()`; `skills` are `controllers.skills.definition.SkillDefinition`. A part
is imported when its name is first used, and a broken part stops only the runs that use it.
"""

from embodied.plugins.parts import GROUPS, OfferedPart, import_modules, named_modules, offered
from embodied.plugins.registry import Registry, config_class, config_value, recorded_use
from embodied.plugins.shared_code import (
    SHIP_MB,
    code_identity,
    import_failure,
    not_importable,
    require_same_code,
    shipped_code,
)
from embodied.plugins.sources import module_folders, source_digest, sources_of

__all__ = [
    "GROUPS",
    "SHIP_MB",
    "OfferedPart",
    "Registry",
    "code_identity",
    "config_class",
    "config_value",
    "import_failure",
    "import_modules",
    "module_folders",
    "named_modules",
    "not_importable",
    "offered",
    "recorded_use",
    "require_same_code",
    "shipped_code",
    "source_digest",
    "sources_of",
]
