"""The names of fields and columns: which are ours, which only look so, and which are no names."""

from __future__ import annotations

import functools
import re
import unicodedata

from ... import ConfigurationError

COLUMNS = ("slug", "event", "payload", "linked_account_id", "config_id", "ordering_key", "idempotency_key")

PREFIX = "payload."
"""Of columns that belong to the payload whatever their name is; dots after it nest objects."""

LONGEST_NAME = 64

_ALIASES = {
    "linked_account_id": (
        "linked_account linked_account_ids linked_acct linked_acct_id linked_id linked_account_no linked_account_key "
        "linked_account_uuid linked_account_name linked_acount_id linked_acount linked_accout_id link_account_id "
        "link_account account_id acct_id acc_id refold_account refold_account_id x_linked_account_id"
    ),
    "config_id": "config_ids configuration_id cfg_id conf_id linked_config_id refold_config_id x_config_id",
    "event": "event_name refold_event refold_event_name",
    "slug": "app_slug application_slug refold_slug",
    "payload": "payload_json json_payload event_payload",
    "ordering_key": "ordering_keys ordering_id",
    "idempotency_key": (
        "idempotency idempotency_keys idempotency_id idempotency_token idempotent_key idempotence_key idempotancy_key "
        "x_idempotency_key dedupe_key dedup_key deduplication_key"
    ),
}


_UNSEEN_LETTERS = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
"""What has the category of letters or marks, and is not seen either."""


def fold(name: str) -> str:
    """Return a name without case, separators and invisible characters, for comparing."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(each for each in plain if each.isalnum() and each not in _UNSEEN_LETTERS)


def as_seen(name: str) -> str:
    """Return what is the same for two names that look the same, case included."""
    plain = unicodedata.normalize("NFKC", name)
    return " ".join("".join(each for each in plain if not _is_unseen(each)).split())


_MEANT = {fold(alias): column for column, aliases in _ALIASES.items() for alias in (column, *aliases.split())}


def meant(name: str) -> str | None:
    """Return the field that a name stands for, spelled in whatever way; None for any other name.

    Fixed aliases, and not names that are near: `account` may be a customer's own field.
    """
    folded = fold(name)
    return _MEANT.get(folded) or ("linked_account_id" if "linkedaccount" in folded else None)


def spellings(name: str) -> set[str]:
    """Return a name as programs and people spell it: `deal_name`, `Deal Name`, `dealName` and the like."""
    words = [word for word in re.split(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])", name) if word]
    found = {name}
    for between in ("_", " ", "-", ""):
        joined = between.join(words)
        found |= {joined, joined.lower(), joined.upper(), joined.capitalize(), joined.title()}
        found.add(between.join(word.upper() if word.lower() == "id" else word.capitalize() for word in words))
    return found | {"".join([words[0].lower(), *(word.capitalize() for word in words[1:])])} if words else found


def spellings_of_column(column: str) -> set[str]:
    """Return how else one of our own columns may be called in a header."""
    return {each for alias in (column, *_ALIASES.get(column, "").split()) for each in spellings(alias)}


_JOINERS = "\u200c\u200d"
"""They belong to the spelling of Persian and of the languages of India, inside of words."""


def invisible(text: str) -> str | None:
    """Return the first character that nobody sees, such as a zero-width space or a control character."""
    if text.isascii() and text.isprintable():
        return None
    return next((each for each in text if _is_unseen(each) and each not in _JOINERS), None)


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") or character in _UNSEEN_LETTERS


_NO_VALUE = frozenset(
    {"null", "(null)", "none", "nil", "nan", "n/a", "#n/a", "undefined", "\\n", "[object object]", "-", "--", "?"}
    | {"#ref!", "#value!", "#name?", "#null!", "#num!", "#div/0!"}
)
_PLACEHOLDER = re.compile(r"\{\{.*\}\}|\$\{.*\}|<[^<>]+>")
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?E\+\d+")


@functools.lru_cache(4096)  # a file has few events, and often few accounts
def oddity(text: str) -> str | None:
    """Return in words why a text is hardly the name of an account or an event; None if it may be one."""
    if text.casefold() in _NO_VALUE:
        return "is what programs write where there is no value"
    if _PLACEHOLDER.fullmatch(text):
        return "is a placeholder that was not filled in"
    if _ROUNDED.fullmatch(text):
        return "is a number that a spreadsheet has rounded"
    if text.startswith('="'):
        return "is a formula"
    return padding(text)


@functools.lru_cache(4096)
def padding(text: str) -> str | None:
    """Return in words which odd space or invisible character a name has at its ends or inside; None if it has none."""
    if text != text.strip():
        if text.isspace():
            return "is blank"
        where = "begins" if text != text.lstrip() else "ends"
        return f"{where} with a space"
    unseen = invisible(text) or next((end for end in (text[:1], text[-1:]) if end and end in _JOINERS), None)
    if unseen is None:
        return None
    return f"holds the invisible character U+{ord(unseen):04X}"


def check_typed(**names: str | None) -> None:
    """Check names that were typed as options, as those in rows are checked.

    :raises ConfigurationError: for spaces at their ends and invisible characters.
    """
    for option, name in names.items():
        odd = None if name is None else padding(name)
        if odd is not None:
            raise ConfigurationError(f"{option} {odd}: {name!r}. Correct it, as names must match to the letter")


_MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?)"
)
_DATA = (
    ("an e-mail address", re.compile(r"(?:mailto:)?[^@\s]+@[^@\s]+\.[^@\s]+|[^<]*<[^@\s<]+@[^@\s>]+>")),
    ("a URL", re.compile(r"[a-z][a-z0-9+.-]*://.*|www\..+", re.IGNORECASE)),
    (
        "a date",
        re.compile(
            rf"(?:[a-z]{{2,9}},? )?\d{{1,2}}(?:st|nd|rd|th)?[ .\-/]+{_MONTH}[ .,\-/]*(?:\d{{2,4}}.*)?"
            rf"|{_MONTH}[ .,\-/']+\d{{1,4}}(?:[ ,]+\d{{4}})?(?:[ ,]+\d{{1,2}}:.*)?"
            r"|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?:[T ].*)?|\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?(?: ?[ap]\.?m\.?)?",
            re.IGNORECASE,
        ),
    ),
    ("a number", re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)e[+-]?\d+|[+-]?(?:nan|inf|infinity)|0x[0-9a-f]+", re.IGNORECASE)),
    ("an amount", re.compile(r"(?:[A-Z]{3}|[$€£¥]) ?[\d.,']+|[\d.,']+ ?(?:[A-Z]{3}|[$€£¥%])")),
    ("true, false or null", re.compile(r"true|false|null|none|n/a", re.IGNORECASE)),
    (
        "an id",
        re.compile(r"[{(]?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}[)}]?|(?=.*\d)[0-9a-f]{24,}", re.IGNORECASE),
    ),
    ("JSON", re.compile(r"[\[{].*[\]}]", re.DOTALL)),
    ("a line that was drawn", re.compile(r"[!-/:-@\[-`{-~ ]{3,}(?:BEGIN .*)?")),
)


def looks_like_data(name: str) -> str | None:
    """Return what a cell of the first line is, in words, if it is more likely a value than the name of a column."""
    for words, pattern in _DATA:
        if pattern.fullmatch(name):
            return words
    if any(map(str.isnumeric, name)) and not any(map(str.isalpha, name)):
        return "a number"
    return None
