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
from embodied.plugins.sources import module_folders, require_same_modules, source_digest, sources_of

__all__ = [
    "GROUPS",
    "OfferedPart",
    "Registry",
    "config_class",
    "config_value",
    "import_modules",
    "module_folders",
    "named_modules",
    "offered",
    "recorded_use",
    "require_same_modules",
    "source_digest",
    "sources_of",
]
