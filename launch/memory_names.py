"""Completes names as a user types them: the end of a name is enough where it is unambiguous."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from math import inf

from embodied.errors import ConfigError, UnknownNameError
from embodied.memory import BankView, EpisodeBegun, EpisodeEnded, EventFilter
from launch.memory_query import CompletedQuery, QuerySettings

MOST_NAMES = 10
ALL = "all"
NEAR = 0.5


def completed(bank: BankView, query: QuerySettings) -> CompletedQuery:
    """Returns the query with all names completed and all times on the site clock.

    Entities are those of `episode`, where it is given, and times are seconds since it began. Raises `UnknownNameError`
    for a name that the bank does not contain, `ConfigError` for an ambiguous one and for one of another episode.
    """
    episodes = _episodes(bank) if query.episode else []
    episode = full_name("episode", query.episode, episodes)
    if query.robot and not bank.changes_since(0, wanted=EventFilter(robot=query.robot), limit=1):
        raise unknown("robot", query.robot, _robots(bank))
    asked = query.where or query.contents or query.name or query.near
    known = bank.names() if asked else []
    inside = [name for name in known if name.startswith(f"{episode}/")] if episode else known

    def entity(typed: str) -> str:
        if episode and not _ended(typed, inside):
            found = [typed] if typed in known else _ended(typed, known)
            _refuse_of_others(typed, [name for name in found if _is_of(name, episodes)], episode)
        return typed if typed in known else full_name("name", typed, inside)

    places = [one.name for one in bank.places()] if query.place or query.places else ()
    begun_s, ended_s = _times(bank, episode) if episode else (0.0, inf)
    return CompletedQuery.of(
        query,
        **{name: _shifted(getattr(query, name), begun_s) for name in ("as_of_s", "from_s", "to_s")},
        start_s=begun_s,
        end_s=ended_s,
        episode=episode,
        place=full_name("place", query.place, places),
        places=query.places if query.places == ALL else full_name("place", query.places, places),
        where=entity(query.where),
        contents=entity(query.contents),
        near=entity(query.near),
        # For a skill, `name` is the context of its statistics, such as a category.
        name=query.name if query.skill else entity(query.name),
        action=_full_action(bank, query.action),
    )


def full_name(what: str, typed: str, known: Collection[str]) -> str:
    """Returns the only one of the `known` names that equals `typed`, or ends in it after a slash; "" for "".

    `what` names the kind of thing in messages. Raises `UnknownNameError` where there is none, `ConfigError` where there
    are several.
    """
    if not typed or typed in known:
        return typed
    found = _ended(typed, known)
    if not found:
        raise unknown(what, typed, known)
    if len(found) > 1:
        raise ConfigError(
            f"A {what} must be that of one thing.",
            value=typed,
            remedy=f"It may be any of {len(found)}:\n{_listed(found)}\n"
            "Write more of the one that is meant, from its end, or name its episode=.",
        )
    return found[0]


def unknown(what: str, typed: str, known: Iterable[str]) -> UnknownNameError:
    """Returns the error for a `typed` name that the bank does not contain, with the most similar of the `known` names.

    `what` names the kind of thing.
    """
    parts = typed.count("/") + 1
    # Many episodes have things of the same name, so there are few distinct ends.
    ends = sorted({"/".join(name.split("/")[-parts:]) for name in known})
    near = get_close_matches(typed, ends, n=1, cutoff=NEAR)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    listed = f"Known, by their ends:\n{_listed(ends)}" if ends else "The bank knows none."
    article = "An" if what[0] in "aeiou" else "A"
    rule = f"{article} {what} in this bank must be one that exists."
    return UnknownNameError(rule, value=typed, remedy=f"{hint}{listed}")


def _ended(typed: str, known: Iterable[str]) -> list[str]:
    """Returns the names that equal the typed text or end in it after a slash, sorted; none for ""."""
    return sorted(name for name in known if typed and f"/{name}".endswith(f"/{typed}"))


def _is_of(name: str, episodes: Iterable[str]) -> bool:
    return any(name.startswith(f"{episode}/") for episode in episodes)


def _refuse_of_others(typed: str, names: list[str], episode: str) -> None:
    """Raises `ConfigError` where the typed text names things in other episodes."""
    if names:
        raise ConfigError(
            "A name must belong to the episode that is named with it.",
            value=typed,
            remedy=f"{names[0]!r} belongs to another episode than {episode!r}: leave out episode=, or name the other.",
        )


def _full_action(bank: BankView, typed: str) -> str:
    """Returns an action as interactions have it; `pick place`, as a timeline shows it, means `pick_place`."""
    known = _actions(bank) if typed else set()
    if not typed or typed in known:
        return typed
    spelled = {action.replace("_", " "): action for action in sorted(known)}
    if typed.replace("_", " ") not in spelled:
        raise unknown("action", typed, known)
    return spelled[typed.replace("_", " ")]


def _actions(bank: BankView) -> set[str]:
    return {getattr(event.payload, "action", "") for event in bank.history(kinds=("interaction",))}


def _listed(names: list[str]) -> str:
    more = [f"... and {len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return "\n".join(f"  {name}" for name in [*names[:MOST_NAMES], *more])


def _episodes(bank: BankView) -> list[str]:
    return [getattr(event.payload, "episode", "") for event in bank.history(kinds=("episode_begun",))]


def _times(bank: BankView, episode: str) -> tuple[float, float]:
    """Returns when an episode began last and when it ended, in seconds on the site clock; infinity while it runs."""
    begun_s, ended_s = 0.0, inf
    for event in bank.history(kinds=("episode_begun", "episode_ended")):
        match event.payload:
            case EpisodeBegun(episode=name) if name == episode:
                begun_s, ended_s = event.valid_time_s, inf
            case EpisodeEnded(episode=name) if name == episode:
                ended_s = event.valid_time_s
    return begun_s, ended_s


def _shifted(time_s: float | None, by_s: float) -> float | None:
    return None if time_s is None else time_s + by_s


def _robots(bank: BankView) -> list[str]:
    kinds = ("robot_registered", "skill_ended", "interaction", "tool_called")
    return [event.robot for event in bank.history(kinds=kinds) if event.robot]
