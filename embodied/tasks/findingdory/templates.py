"""The face of the templates: `parse(instruction)` gives the `Question`, and `wording(question)` the instruction."""

from embodied.tasks.findingdory.parser import parse
from embodied.tasks.findingdory.question import Question
from embodied.tasks.findingdory.table import GROUPS, ORDERED, SINGLE, TEMPLATES, UNORDERED, Template, template
from embodied.tasks.findingdory.wording import wording

__all__ = [
    "GROUPS",
    "ORDERED",
    "SINGLE",
    "TEMPLATES",
    "UNORDERED",
    "Question",
    "Template",
    "parse",
    "template",
    "wording",
]
