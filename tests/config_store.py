"""Hydra keeps one store of schemas for a process: what a test has registered there is removed after it.

`launch.train` registers a group `policy`, and `launch.evaluate` takes a list of that name: where one process composes
both, Hydra cannot override 'policy'.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OF_HYDRA = ("hydra", "_")  # Its own schemas, which it registers once.


@contextmanager
def restored_config_store() -> Iterator[None]:
    """Leaves Hydra's store as it was; does nothing where Hydra has not been loaded."""
    before = _copied(_repository())
    try:
        yield
    finally:
        groups = _repository()
        for name in [name for name in groups if not name.startswith(OF_HYDRA)]:
            del groups[name]
        groups.update({name: value for name, value in before.items() if not name.startswith(OF_HYDRA)})


def _repository() -> dict[str, Any]:
    module = sys.modules.get("hydra.core.config_store")
    return {} if module is None else module.ConfigStore.instance().repo


def _copied(groups: dict[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) if isinstance(value, dict) else value for name, value in groups.items()}
