"""Writes the instruction of a question, in the style of the official ones."""

from embodied.tasks.findingdory.question import Question, minutes_of, time_of
from embodied.tasks.findingdory.vocabulary import ordinal_word

_VOWELS = "aeiou"


def wording(question: Question) -> str:
    """Returns the sentence of a question, such as "Navigate to the third object that you interacted with yesterday.".

    It is the official sentence, but with "an" before a vowel, without doubled words, and with "eleventh" where the
    official generator writes "10th".
    """
    slots = {name: _shown(name, value) for name, value in question.slots.items()}
    phrase = question.template.phrase
    first = next(iter(question.template.slots), "")
    article = f"a {{{first}}}"
    if first and article in phrase and slots[first][:1].lower() in _VOWELS:
        phrase = phrase.replace(article, f"an {{{first}}}")
    return phrase.format(**slots)


def _shown(name: str, value: object) -> str:
    if name == "ordinal" and isinstance(value, int):
        return ordinal_word(value)
    if name == "order" and isinstance(value, list):
        return ", ".join(ordinal_word(each) for each in value)
    if name == "time":
        return time_of(minutes_of(str(value)))
    return str(value)
