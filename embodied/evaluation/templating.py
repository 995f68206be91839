"""The templates of reports."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def templates() -> "Environment":
    """Returns the templates in `embodied/evaluation/templates`; undefined names in them are errors."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    loader = PackageLoader("embodied.evaluation", "templates")
    found = Environment(
        loader=loader,
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["words"] = lambda name: name.replace("_", " ").replace("/", ", ")
    found.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return found
