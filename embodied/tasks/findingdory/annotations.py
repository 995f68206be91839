"""The files of the official benchmark that need no simulator: questions with their valid frames, and answers."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from embodied.errors import ConfigError, DataError, QuestionError
from embodied.tasks.findingdory.parser import parse
from embodied.tasks.findingdory.question import Question
from embodied.tasks.findingdory.table import SINGLE

FRAMES = 96  # Evenly spaced frames of a day in the official data.
NO_FRAME = -1  # Stands in official answers for a goal that no frame shows.
LARGEST_MIB = 256
_FORM = 'Write [{"id": 210, "answer": [27]}, ...], one whole number per goal.'


@dataclass(frozen=True)
class FrameQuestion:
    """A question about one day, to be answered by frames.

    `goals` are the frames that are valid for each goal, empty where none is. `episode` names the day, and `stated` is
    the category that the file states.
    """

    id: int
    episode: str
    instruction: str
    question: Question
    goals: tuple[frozenset[int], ...]
    stated: str = ""

    @property
    def solvable(self) -> bool:
        """Whether some frames are a valid answer."""
        return bool(self.goals) and all(self.goals)


class _Row(msgspec.Struct, frozen=True):
    """One row of an official file; fields that are not needed are ignored."""

    question: str
    id: Annotated[int, msgspec.Meta(ge=0)]
    answer: list[list[int]]
    ep_id: str
    low_level_category: str = ""


class _Answer(msgspec.Struct, frozen=True):
    id: int
    answer: list[int]


def read_annotations(path: Path, *, frames: int = FRAMES) -> list[FrameQuestion]:
    """Returns the questions of an annotation file of days of `frames` frames, in its order.

    Raises `DataError` for a file that is not JSON of the official form, for ids that occur twice, frames beyond the
    day, and instructions of no template; `ConfigError` for a number of frames below 1.
    """
    if frames < 1:
        raise ConfigError("A day must have at least one frame.", value=frames)
    rows = _decoded(
        path, list[_Row], what="An annotation file", form="Give the official file, such as validation.json."
    )
    if not rows:
        raise DataError("An annotation file must have at least one question.", value=str(path))
    _require_once((row.id for row in rows), what=f"Each id of {path}")
    return [_question(row, path, frames) for row in rows]


def read_answers(path: Path) -> Mapping[int, tuple[int, ...]]:
    """Returns the frames that a method answers, by the id of the question. Raises `DataError`.

    Whether they are in range, and as many as there are goals, is judged with each question.
    """
    rows = _decoded(path, list[_Answer], what="A file of answers", form=_FORM)
    _require_once((row.id for row in rows), what=f"Each id of {path}")
    return {row.id: tuple(row.answer) for row in rows}


def remarks_on(questions: Sequence[FrameQuestion], answers: Mapping[int, tuple[int, ...]]) -> list[str]:
    """Returns remarks on a file and the answers to it: categories other than stated, answers to no question."""
    odd = [each.id for each in questions if each.stated and each.stated != each.question.group]
    unknown = sorted(answers.keys() - {each.id for each in questions})
    several = [each.id for each in questions if each.question.template.goals == SINGLE and len(each.goals) != 1]
    found = [
        (odd, "questions state another category than that of their template"),
        (several, "questions of a single goal have another number of goals"),
        (unknown, "answers have the id of no question, and do not count"),
    ]
    return [f"{len(ids)} {text}, such as id {ids[0]}." for ids, text in found if ids]


def _question(row: _Row, path: Path, frames: int) -> FrameQuestion:
    try:
        question = parse(row.question)
    except QuestionError as error:
        raise DataError(
            f"Each question of {path} must be of one of the 60 templates.",
            value=f"id {row.id}: {row.question!r}",
            remedy=error.remedy,
        ) from error
    wrong = [frame for goal in row.answer for frame in goal if frame != NO_FRAME and not 0 <= frame < frames]
    if wrong:
        raise DataError(
            f"Frames of {path} must lie in [0, {frames}), or be {NO_FRAME} for none.",
            value=f"id {row.id}: {wrong[0]}",
            remedy="Set frames=NUMBER to the number of frames of a day.",
        )
    goals = tuple(frozenset(goal) - {NO_FRAME} for goal in row.answer)
    return FrameQuestion(row.id, row.ep_id, row.question, question, goals, row.low_level_category)


def _decoded(path: Path, kind: Any, *, what: str, form: str) -> Any:
    try:
        size = path.stat().st_size
        if size > LARGEST_MIB * 2**20:
            raise DataError(f"{what} must have at most {LARGEST_MIB} MiB.", value=f"{path}: {size} bytes")
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise DataError(f"{what} must be a readable file.", value=f"{path}: {error.strerror}", remedy=form) from error
    except msgspec.DecodeError as error:
        raise DataError(
            f"{what} must be JSON of the documented form.", value=f"{path}: {error}", remedy=form
        ) from error


def _require_once(ids: Iterable[Hashable], *, what: str) -> None:
    twice = [each for each, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(
            f"{what} must occur once.", value=f"{len(twice)} ids occur twice, such as {twice[0]}", remedy="Remove one."
        )
