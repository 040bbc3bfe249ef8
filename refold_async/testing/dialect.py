"""Where Refold's documentation contradicts itself: which of its answers the mock gives."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen, validators

from ._answers import ErrorSpelling


@frozen(kw_only=True)
class Dialect:
    """What the mock answers where sources differ, or where nobody has seen the real answer.

    The defaults are those of the newest documentation (v3).

    :ivar errors: how errors are spelled: "documented" as each page shows its own; "v1", "v3", "mixed" or "swapped" for
        all.
    :ivar event_response: an event's `response` as a "list" of fields or as a JSON "string".
    :ivar rerun: the answer of a rerun: "v3" `{status, id}` or "v1" `{message, instanceId}`.
    :ivar unknown_execution: an id that the mock does not know is answered with "404", or "hang"s without an answer.
    :ivar unknown_event: the status for an event's id that does not exist, 404 or 400.
    :ivar unknown_account: the status for a session token of an account that does not exist, 400 or 500.
    :ivar paging: "full" for all ten fields of a page; "short" for `docs, totalDocs, limit, page, totalPages,
        hasNextPage`; "docs" for `docs` alone.
    :ivar max_page_size: a larger `limit` is cut to this without a word.
    :ivar endless_pages: `hasNextPage` is always true, also on an empty page.
    :ivar detail_has_id: whether one execution's document has `_id` and `createdAt`; the v3 example has neither.
    """

    errors: ErrorSpelling = "documented"
    event_response: Literal["list", "string"] = "list"
    rerun: Literal["v1", "v3"] = "v3"
    unknown_execution: Literal["404", "hang"] = "404"
    unknown_event: Literal[400, 404] = 404
    unknown_account: Literal[400, 500] = 400
    paging: Literal["full", "short", "docs"] = "full"
    max_page_size: int = field(default=100, validator=validators.ge(1))
    endless_pages: bool = False
    detail_has_id: bool = False
