"""The files of this folder: how each is written, what it may fire, and how the batch command ends.

`python -m tests.files.cases` writes them anew. `tests/cli/reading/test_files.py` walks them.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import field, frozen

FOLDER = Path(__file__).parent
COMMON = ("--slug", "slack", "--event", "E")
DEFAULT = "default_account"
"""The account of rows that name none."""


@frozen
class Case:
    """A file.

    :ivar name: its name.
    :ivar content: what is in it.
    :ivar fires: the payloads that fire, in order; or whole events as `event(...)` makes them. Nothing else may.
    :ivar exit: the exit code of a run, and `dry` that of a dry run.
    :ivar says: what it says on standard error.
    :ivar good: how many rows a dry run finds good; as many as fire if left out.
    :ivar options: beside the file.
    """

    name: str
    content: bytes
    fires: list[dict[str, Any]]
    exit: int = 0
    says: str = ""
    dry: int = field(kw_only=True)
    good: int = field(kw_only=True)
    options: tuple[str, ...] = field(kw_only=True, default=COMMON)

    @dry.default
    def _dry(self) -> int:
        return self.exit

    @good.default
    def _good(self) -> int:
        return len(self.fires)


def event(payload: dict[str, Any] | None, **fields: Any) -> dict[str, Any]:
    """What fires, where it is not only a payload for the default account."""
    return {"slug": "slack", "event": "E", "account": DEFAULT, **fields, "payload": payload}


def text(*lines: str, end: str = "\n") -> bytes:
    return "".join(line + end for line in lines).encode()


def packed(content: bytes) -> bytes:
    """Compress without a time, so that it is the same each time."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packer:
        packer.write(content)
    return file.getvalue()


ACME = {"deal": "1", "name": "Acme"}
GLOBEX = {"deal": "2", "name": "Globex"}
BOTH = [ACME, GLOBEX]
SIMPLE = text("deal,name", "1,Acme", "2,Globex")
ROW = json.dumps({"payload": {"n": 1}})


def _delimiters() -> Iterator[Case]:
    yield Case("plain.csv", SIMPLE, BOTH)
    yield Case("semicolon.csv", text("deal;name", "1;Acme", "2;Globex"), BOTH)
    yield Case("tab.csv", text("deal\tname", "1\tAcme", "2\tGlobex"), BOTH)
    yield Case("tab.tsv", text("deal\tname", "1\tAcme, Inc."), [{"deal": "1", "name": "Acme, Inc."}])
    yield Case("pipe.csv", text("deal|name", "1|Acme", "2|Globex"), BOTH)
    yield Case("decimal-comma.csv", text("deal;price", "1;3,50"), [{"deal": "1", "price": "3,50"}])
    yield Case("sep-line.csv", text("sep=;", "deal;name", "1;Acme", "2;Globex"), BOTH)
    yield Case("sep-line-quoted.csv", text('"sep=;"', "deal;name", "1;Acme", "2;Globex", end="\r\n"), BOTH)
    yield Case("sep-caret.csv", text("sep=^", "deal^name", "1^Acme"), [ACME])
    yield Case("sep-nothing.csv", text("sep=", "deal,name", "1,Acme"), [], 2, "names no delimiter")
    yield Case("two-delimiters.csv", text("deal,name;note", "1,Acme;x"), [], 2, "commas and semicolons")
    yield Case(
        "two-delimiters-chosen.csv",
        text("deal;name, note", "1;Acme, x"),
        [{"deal": "1", "name, note": "Acme, x"}],
        options=(*COMMON, "--delimiter", "semicolon"),
    )
    yield Case("quoted-delimiter.csv", text('deal,"name; note"', "1,x"), [{"deal": "1", "name; note": "x"}])
    yield Case("colon.csv", text("deal:name", "1:Acme"), [], 2, "--delimiter ':'")
    yield Case("colon-chosen.csv", text("deal:name", "1:Acme"), [ACME], options=(*COMMON, "--delimiter", "colon"))
    yield Case("fixed-width.csv", text("deal   name", "1      Acme"), [], 2, "it has one column")
    yield Case("one-column.csv", text("deal", "1", "2"), [{"deal": "1"}, {"deal": "2"}])
    yield Case("wrong-delimiter.csv", SIMPLE, [], 2, "the one character", options=(*COMMON, "--delimiter", "letter"))
    yield Case(
        "wrong-delimiter-chosen.csv",
        text("deal;name", "1,5;Acme"),
        [],
        2,
        "there are semicolons in it, and no comma, as --delimiter says",
        options=(*COMMON, "--delimiter", ","),
    )


def _encodings() -> Iterator[Case]:
    accents = text("deal,name", "1,Acmé €")
    rows = [{"deal": "1", "name": "Acmé €"}]
    yield Case("utf8.csv", accents, rows)
    yield Case("utf8-bom.csv", b"\xef\xbb\xbf" + accents, rows)
    yield Case("utf16-le-bom.csv", b"\xff\xfe" + accents.decode().encode("utf-16-le"), rows)
    yield Case("utf16-be-bom.csv", b"\xfe\xff" + accents.decode().encode("utf-16-be"), rows)
    yield Case("utf16-le.csv", accents.decode().encode("utf-16-le"), rows)
    yield Case("utf16-be.csv", accents.decode().encode("utf-16-be"), rows)
    yield Case("utf32-bom.csv", accents.decode().encode("utf-32"), rows)
    yield Case("utf16-cut.csv", accents.decode().encode("utf-16")[:-3], [], 2, "was the file cut off?", dry=1)
    yield Case("cp1252.csv", accents.decode().encode("cp1252"), [], 2, "--encoding cp1252", dry=1)
    chosen = (*COMMON, "--encoding", "cp1252")
    yield Case("cp1252-chosen.csv", accents.decode().encode("cp1252"), rows, options=chosen)
    yield Case("utf8-bom-cp1252.csv", b"\xef\xbb\xbf" + accents, [], 2, "leave out --encoding", options=chosen)
    yield Case("cp1252-later.csv", text("deal,name", "1,Acme") + b"2,Caf\xe9\n", [ACME], 2, "line 3: not UTF-8", dry=1)
    yield Case("no-encoding.csv", SIMPLE, [], 2, "is not an encoding", options=(*COMMON, "--encoding", "klingon"))
    yield Case("no-text-encoding.csv", SIMPLE, [], 2, "is not an encoding", options=(*COMMON, "--encoding", "base64"))
    yield Case(
        "shift-jis.csv",
        "deal,name\n1,東京\n".encode("shift_jis"),
        [{"deal": "1", "name": "東京"}],
        options=(*COMMON, "--encoding", "shift_jis"),
    )
    yield Case("nul.csv", text("deal,name", "1,Acme", "2,Glo\0bex"), [ACME], 2, "line 3: it holds a NUL", dry=1)
    yield Case("utf16.jsonl", ROW.encode("utf-16"), [{"n": 1}])
    yield Case("bom.jsonl", b"\xef\xbb\xbf" + ROW.encode(), [{"n": 1}])


def _packed() -> Iterator[Case]:
    yield Case("gzip.csv.gz", packed(SIMPLE), BOTH)
    yield Case("gzip-named-plain.csv", packed(SIMPLE), BOTH)
    yield Case("plain-named-gzip.csv.gz", SIMPLE, BOTH)
    yield Case("gzip-twice-appended.csv.gz", packed(text("deal,name", "1,Acme")) + packed(text("2,Globex")), BOTH)
    yield Case("gzip-padded.csv.gz", packed(SIMPLE) + bytes(512), BOTH)
    yield Case("gzip-utf16.csv.gz", packed(SIMPLE.decode().encode("utf-16")), BOTH)
    yield Case("gzip.jsonl.gz", packed(ROW.encode()), [{"n": 1}])
    long = text("deal,name", *(f"{n},Acme {zlib.crc32(b'%d' % n)}" for n in range(200)))
    yield Case("gzip-cut-at-end.csv.gz", packed(SIMPLE)[:-2], [], 2, "breaks off")
    yield Case(
        "gzip-wrong-checksum.csv.gz", packed(SIMPLE)[:-8] + bytes(4) + packed(SIMPLE)[-4:], [], 2, "damaged gzip"
    )
    yield Case("gzip-cut.csv.gz", packed(text("deal,name"))[:-6], [], 2, "breaks off")
    yield Case("gzip-damaged.csv.gz", packed(long)[:600] + b"\0" * 50 + packed(long)[650:], [], 2, "damaged gzip")
    yield Case("gzip-in-gzip.csv.gz", packed(packed(SIMPLE)), [], 2, "compressed twice")
    yield Case("workbook.csv", b"PK\x03\x04" + bytes(26) + b"xl/workbook.xml", [], 2, "save it as CSV")
    yield Case("workbook-old.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40), [], 2, "save it as CSV")
    yield Case("xz.csv", b"\xfd7zXZ\0" + bytes(30), [], 2, "xz -dc")
    yield Case("picture.jsonl", b"\x89PNG\r\n\x1a\n" + bytes(30), [], 2, "is a picture")
    yield Case("zeros.csv", bytes(64), [], 2, "is not text")


def _line_ends() -> Iterator[Case]:
    yield Case("crlf.csv", text("deal,name", "1,Acme", "2,Globex", end="\r\n"), BOTH)
    yield Case("old-mac.csv", text("deal,name", "1,Acme", "2,Globex", end="\r"), BOTH)
    yield Case("old-mac-no-end.csv", b"deal,name\r1,Acme\r2,Globex", BOTH)
    yield Case("old-mac.jsonl", f"{ROW}\r{ROW}\r".encode(), [{"n": 1}, {"n": 1}])
    yield Case("crcrlf.csv", text("deal,name", "1,Acme", "2,Globex", end="\r\r\n"), BOTH)
    yield Case("crlf-then-lf.csv", b"deal,name\r\n1,Acme\r\n2,Globex\n", BOTH)
    yield Case(
        "lf-then-crlf.csv", b"deal,name\n1,Acme\n2,Globex\r\n", [ACME], 2, "line 3: it ends in another way", dry=1
    )
    yield Case("lone-cr-in-cell.csv", b"deal,name\n1,Ac\rme\n", [], 2, "another line end", dry=1)
    yield Case("no-last-end.csv", b"deal,name\n1,Acme\n2,Globex", BOTH)
    yield Case("line-separator.csv", text("deal,name", "1,Ac\u2028me"), [{"deal": "1", "name": "Ac\u2028me"}])
    yield Case("form-feed.csv", text("deal,name", "1,Ac\x0cme"), [{"deal": "1", "name": "Ac\x0cme"}])
    yield Case("crlf.jsonl", f"{ROW}\r\n\r\n{ROW}\r\n".encode(), [{"n": 1}, {"n": 1}])


def _headers() -> Iterator[Case]:
    for name, cell, words in (
        ("emails", "a@example.com", "an e-mail address"),
        ("numbers", "1001", "a number"),
        ("decimals", "3.5", "a number"),
        ("dates", "2026-11-03", "a date"),
        ("dates-us", "11/3/2026", "a date"),
        ("dates-words", "3 Nov 2026", "a date"),
        ("times", "2026-11-03T10:00:00Z", "a date"),
        ("urls", "https://example.com/a", "a URL"),
        ("phones", "+49 30 123456", "a number"),
        ("money", "12.50 EUR", "an amount"),
        ("ids", "0b3f2c1e-8a7d-4c55-9f10-2d6b7a8e9c01", "an id"),
        ("flags", "TRUE", "true, false or null"),
    ):
        yield Case(f"list-of-{name}.csv", text(cell, cell, cell), [], 2, f"is {words}, not a name")
    yield Case("no-header.csv", text("Acme,a@example.com", "Globex,b@example.com"), [], 2, "not a name")
    yield Case("list-of-accounts.csv", text("acct_1", "acct_2", "acct_3"), [], 2, "looks like a row")
    yield Case("rows-without-names.csv", text("Acme,D-1001", "Globex,D-1002"), [], 2, "looks like a row")
    yield Case("numbered-names.csv", text("line1,line2", "Main St 5,x"), [{"line1": "Main St 5", "line2": "x"}])
    yield Case(
        "title-line.csv", text("Export of deals", "deal,name", "1,Acme"), [], 2, "what stands above the header", dry=1
    )
    yield Case("empty-name.csv", text("deal,,name", "1,,Acme"), [], 2, "column 2 has no name")
    yield Case("quoted-lines.csv", text('"deal,name"', '"1,Acme"'), [], 2, "put in quotes as a whole")
    yield Case("index-column.csv", text(",deal", "0,1"), [], 2, "column 1 has no name")
    yield Case("doubled-name.csv", text("deal,deal", "1,2"), [], 2, "is there twice")
    yield Case("doubled-after-spaces.csv", text("deal,deal ", "1,2"), [], 2, "is there twice")
    yield Case("long-name.csv", text("deal," + "x" * 65, "1,2"), [], 2, "longer than 64 characters")
    yield Case("longest-name.csv", text("x" * 64, "1"), [{"x" * 64: "1"}])
    yield Case(
        "prose.csv", text("This is a letter, and it has nothing to do with any rows, columns or cells " * 2, "x"), [], 2
    )
    yield Case("break-in-name.csv", text('deal,"na', 'me"', "1,Acme"), [], 2, "line break")
    yield Case("open-quote-in-header.csv", text('deal,"name', "1,Acme", "2,Globex"), [], 2, "the header: not CSV")
    yield Case("zero-width-name.csv", text("deal,na\u200bme", "1,Acme"), [], 2, "U+200B")
    yield Case("single-quotes.csv", text("'deal','name'", "'1','Acme'"), [], 2, "quotes that are not CSV's")
    yield Case("space-before-quote.csv", text('deal, "name"', '1, "Acme"'), [], 2, "quotes that are not CSV's")
    yield Case("spaces-in-names.csv", text(" deal , first name ", "1,Acme"), [{"deal": "1", "first name": "Acme"}])
    yield Case("unicode-names.csv", text("deal,Straße,名前", "1,x,y"), [{"deal": "1", "Straße": "x", "名前": "y"}])
    yield Case("html.csv", text("<!DOCTYPE html>", "<html><body>Sign in</body></html>"), [], 2, "HTML or XML")
    yield Case("html.jsonl", text("<html>", "</html>"), [], 2, "HTML or XML")
    yield Case("xml.csv", text('<?xml version="1.0"?>', "<rows/>"), [], 2, "HTML or XML")
    yield Case("json-lines.csv", ROW.encode() + b"\n", [], 2, "--format jsonl")
    yield Case("json-array.csv", b"[\n" + ROW.encode() + b"\n]\n", [], 2, "jq -c '.[]'")
    yield Case("json-lines-said.csv", ROW.encode(), [{"n": 1}], options=(*COMMON, "--format", "jsonl"))
    yield Case("table.jsonl", SIMPLE, [], 2, "--format csv", dry=1)
    yield Case("table-said.txt", SIMPLE, BOTH, options=(*COMMON, "--format", "csv"))
    yield Case("header-only.csv", text("deal,name"), [], 2, "has no rows")
    yield Case("empty.csv", b"", [], 2, "has no rows")
    yield Case("blank.jsonl", b"\n \n\n", [], 2, "has no rows")


def _addresses() -> Iterator[Case]:
    for name, column in (
        ("camel", "linkedAccountId"),
        ("capitals", "LINKED_ACCOUNT_ID"),
        ("words", "Linked Account ID"),
        ("hyphens", "linked-account-id"),
        ("dots", "linked.account.id"),
        ("short", "linked_account"),
        ("alias", "account_id"),
        ("joiner", "linked_account\u200d_id"),
        ("wide", "\uff4cinked_account_id"),
    ):
        yield Case(
            f"account-{name}.csv", text(f"{column},deal", "acct_9,1"), [], 2, "must be spelled 'linked_account_id'"
        )
    yield Case("account-invisible.csv", text("linked_account_id\u200b,deal", "acct_9,1"), [], 2, "U+200B")
    yield Case("account.csv", text("linked_account_id,deal", "acct_9,1"), [event({"deal": "1"}, account="acct_9")])
    yield Case(
        "account-spaces.csv", text(" linked_account_id ,deal", "acct_9,1"), [event({"deal": "1"}, account="acct_9")]
    )
    yield Case("account-of-their-own.csv", text("account,deal", "x,1"), [{"account": "x", "deal": "1"}])
    yield Case(
        "account-in-payload.csv",
        text("payload.account_id,deal", "x,1"),
        [{"account_id": "x", "deal": "1"}],
    )
    first = [event({"deal": "1"}, account="acct_9")]
    yield Case(
        "account-blank.csv", text("linked_account_id,deal", "acct_9,1", ",2"), first, 2, "default customer", dry=1
    )
    yield Case(
        "account-space.csv", text("linked_account_id,deal", "acct_9,1", "acct_8 ,2"), first, 2, "ends with", dry=1
    )
    yield Case(
        "account-nbsp.csv", text("linked_account_id,deal", "acct_9,1", "\u00a0acct_8,2"), first, 2, "begins", dry=1
    )
    yield Case(
        "account-zero-width.csv", text("linked_account_id,deal", "acct_9,1", "ac\u200bct,2"), first, 2, "U+200B", dry=1
    )
    yield Case("account-null.jsonl", text('{"linked_account_id": null, "payload": {"n": 1}}'), [], 2, "is empty", dry=1)
    yield Case(
        "account-camel.jsonl", text('{"linkedAccountId": "x", "payload": {"n": 1}}'), [], 2, "did you mean", dry=1
    )
    yield Case(
        "event-space.csv",
        text("event,deal", "Deal Created ,1"),
        [],
        2,
        "event ends with a space",
        dry=1,
        options=("--slug", "slack"),
    )
    yield Case(
        "event-column.csv",
        text("event,deal", "Deal Created,1"),
        [event({"deal": "1"}, event="Deal Created")],
        options=("--slug", "slack"),
    )
    yield Case("event-capital.csv", text("Event,deal", "Deal Created,1"), [], 2, "must be spelled 'event'")
    yield Case("event-in-payload.csv", text("payload.event,deal", "opened,1"), [{"event": "opened", "deal": "1"}])
    yield Case(
        "key-header-spelling.csv", text("Idempotency-Key,deal", "k,1"), [], 2, "must be spelled 'idempotency_key'"
    )


def _records() -> Iterator[Case]:
    yield Case("blank-rows.csv", text("deal,name", "1,Acme", ",", ",", "", "2,Globex", ","), BOTH)
    yield Case("blank-quoted.csv", text("deal,name", '"",""', "1,Acme"), [ACME])
    yield Case(
        "blank-spaces.csv", text("deal,name", "1,Acme", " , ", "2,Globex"), [ACME], 2, "only spaces", dry=1, good=2
    )
    yield Case("trailing-columns.csv", text("deal,name,,", "1,Acme,,", "2,Globex,,"), BOTH)
    yield Case("trailing-cells.csv", text("deal,name", "1,Acme,,", "2,Globex"), BOTH)
    yield Case("nameless-cell.csv", text("deal,name,,", "1,Acme,x,"), [], 2, "a column without a name", dry=1)
    yield Case("two-files.csv", SIMPLE + text("deal,name", "3,Initech"), [*BOTH, {"deal": "3", "name": "Initech"}])
    yield Case("two-files-bom.csv", b"\xef\xbb\xbf" + SIMPLE + b"\xef\xbb\xbf" + SIMPLE, [*BOTH, *BOTH])
    yield Case(
        "two-files-sep.csv", text("sep=;", "deal;name", "1;Acme") * 2, [ACME], 2, "what Excel puts", dry=1, good=2
    )
    yield Case("two-files-reordered.csv", SIMPLE + text("name,deal", "Initech,3"), BOTH, 2, "another header", good=2)
    yield Case("two-files-no-end.csv", b"deal,name\n1,Acmedeal,name\n2,Globex\n", [], 2, "has 3 cells", dry=1, good=1)
    yield Case("too-few.csv", text("deal,name", "1,Acme", "2"), [ACME], 2, "line 3: it has 1 cells", dry=1)
    yield Case(
        "too-many.csv", text("deal,name", "1,Acme", "2,Globex, Inc."), [ACME], 2, "line 3: it has 3 cells", dry=1
    )
    yield Case("dos-end.csv", text("deal", "1") + b"\x1a", [{"deal": "1"}], 2, "only spaces", dry=1)
    yield Case("empty-object.jsonl", b"{}\n", [], 2, "an empty object", dry=1)
    yield Case("quotes.csv", text("deal,name", '1,"Acme, ""the"" Inc."'), [{"deal": "1", "name": 'Acme, "the" Inc.'}])
    yield Case("quote-inside.csv", text("deal,name", '1,5" pipe'), [{"deal": "1", "name": '5" pipe'}])
    yield Case("backslash-quote.csv", text("deal,name", r'1,"Ac\"me"'), [], 2, "not CSV", dry=1)
    yield Case(
        "multiline.csv",
        text("deal,note", '1,"Hello,', 'bye"', "2,x"),
        [{"deal": "1", "note": "Hello,\nbye"}, {"deal": "2", "note": "x"}],
    )
    skip = (*COMMON, "--skip-invalid")
    rows = [f"{n},Acme {n},x" for n in range(2, 1000)]
    fires = [{"deal": str(n), "name": f"Acme {n}", "note": "x"} for n in range(2, 1000)]
    whole = text("deal,name,note", '1,"Acme 1,x', *rows)
    yield Case("open-quote.csv", whole, [], 2, "it reaches to line 1000 (999 lines)", dry=1, good=998)
    yield Case(
        "open-quote-skipped.csv", whole, fires, 1, "line 2: invalid: a quote in it is never closed", options=skip
    )
    closed = text("deal,name,note", '1,"Acme,x', "2,Globex,y", '3,Initech",z', "4,d,e")
    yield Case("open-quote-closed-later.csv", closed, [], 2, "lines 2 to 4: ")
    yield Case("open-quote-closed-skipped.csv", closed, [], 2, "lines 2 to 4: ", options=skip)
    meant = [
        {"deal": "1", "name": "Acme,x\n2,Globex,y\n3,Initech", "note": "z"},
        {"deal": "4", "name": "d", "note": "e"},
    ]
    yield Case("open-quote-meant.csv", closed, meant, options=(*COMMON, "--multiline-cells"))
    mixed = text("deal,name,note", '1,"Acme,x', '2,"Globex",y', "3,Initech,z")
    two = [{"deal": "2", "name": "Globex", "note": "y"}, {"deal": "3", "name": "Initech", "note": "z"}]
    yield Case("open-quote-before-quote.csv", mixed, [], 2, "it reaches to line 3", dry=1, good=2)
    yield Case("open-quote-before-quote-skipped.csv", mixed, two, 1, options=skip)
    torn = text("deal,name,note", '1,"a', 'b"c,x', "2,d,e")
    yield Case("torn-cell-skipped.csv", torn, [], 2, "lines 2 to 3", options=skip)
    yield Case("bad-row-skipped.csv", text("deal,name", "1,Acme", "x", "2,Globex"), BOTH, 1, "line 3: ", options=skip)
    yield Case("limit.csv", SIMPLE, [ACME], options=(*COMMON, "--limit", "1"))


def _put_together() -> Iterator[Case]:
    """Several files in one, and lines that tools put between rows."""
    skip = (*COMMON, "--skip-invalid")
    for name, header in (
        ("shares-one", "name,amount"),
        ("shares-the-second", "amount,name"),
        ("is-wider", "deal,name,owner"),
        ("has-capitals", "Deal,Name"),
        ("is-in-quotes", '"Name","Deal"'),
    ):
        content = SIMPLE + text(header, "3,z")
        yield Case(f"header-{name}.csv", content, BOTH, 2, "line 4: it looks like another header", good=2)
        yield Case(f"header-{name}-skipped.csv", content, BOTH, 2, "looks like another header", good=2, options=skip)
    wide = text("deal,name,owner,stage", "1,a,b,c", "id,name,rep,stage", "2,d,e,f")
    row = {"deal": "1", "name": "a", "owner": "b", "stage": "c"}
    yield Case("header-shares-two-of-four.csv", wide, [row], 2, "line 3: it looks like another header", good=1)
    for name, column, header in (
        ("account", "linked_account_id", "linked_account_id,amount"),
        ("account-alias", "linked_account_id", "Account ID,amount"),
        ("event", "event", "event,amount"),
        ("key", "ordering_key", "ordering_key,amount"),
    ):
        content = text(f"{column},deal", "acct_9,1", header, "acct_9,2")
        first = event({"deal": "1"}, **{column.removeprefix("linked_").removesuffix("_id"): "acct_9"})
        fires = [event({"deal": "1"}) if column == "ordering_key" else first]
        yield Case(f"header-of-{name}.csv", content, fires, 2, "line 3: it looks like another header", good=1)
    yield Case("names-then-labels.csv", text("Deal Name,Amount", "deal_name,amount", "x,1"), [], 2, "another header")
    yield Case("event-called-event.csv", text("event,deal", "Event,1"), [event({"deal": "1"}, event="Event")])
    yield Case(
        "cells-that-are-names.csv",
        text("type,company,person", "company,Acme,", "person,,Bob", ",,person Smith"),
        [
            {"type": "company", "company": "Acme", "person": ""},
            {"type": "person", "company": "", "person": "Bob"},
            {"type": "", "company": "", "person": "person Smith"},
        ],
    )
    yield Case("rows-with-mark.csv", SIMPLE + text("\ufeff3,z"), BOTH, 2, "line 4: it begins with a byte order", dry=1)
    yield Case("quotes-after-mark.csv", SIMPLE + text('\ufeff"3","z"'), BOTH, 2, "a byte order mark", dry=1)
    yield Case("rows-with-mark.jsonl", text(ROW, "\ufeff" + ROW), [{"n": 1}], 2, "a byte order mark", dry=1)
    yield Case("ruled-header.csv", text("deal,name", "----,------", "1,Acme"), [], 2, "rules off", dry=1, good=1)
    yield Case("drawn-table.csv", text("+------+", "| deal |", "+------+", "| 1    |"), [], 2, "a line that was drawn")
    yield Case("certificate.csv", text("-----BEGIN CERTIFICATE-----", "MIIB"), [], 2, "a line that was drawn")
    yield Case("title-over-semicolons.csv", text("Deals", "deal;name", "1;Acme"), [], 2, "above the header", dry=1)
    yield Case(
        "titles-over-tabs.csv", text("Deals", "of May", "a\tb", "1\tx"), [{"Deals": "of May"}], 2, "a tab in it", dry=1
    )
    yield Case("one-column-quoted.csv", text("note", '"a; b"', '"c|d"'), [{"note": "a; b"}, {"note": "c|d"}])
    yield Case("blank-lines-in-quotes.csv", text("id,note", '1,"x', "", "", '2,y"', "3,z"), [], 2, "lines 2 to 5: ")


def _looks() -> Iterator[Case]:
    """What looks like something else than it is."""
    for name, names in (
        ("ligature", "\ufb01le,file"),
        ("composed", "caf\u00e9,cafe\u0301"),
        ("joiner", "a\u200db,ab"),
        ("nbsp", "first\u00a0name,first name"),
    ):
        yield Case(f"doubled-{name}.csv", text(names, "1,2"), [], 2, "look the same")
    yield Case("name-with-filler.csv", text("linked_account_id\u3164,deal", "x,1"), [], 2, "U+3164")
    for name, column in (("remark", "linked_account_id (Refold)"), ("plural", "Linked Accounts")):
        yield Case(f"account-with-{name}.csv", text(f"{column},deal", "x,1"), [], 2, "must be spelled")
    for name, cell, words in (
        ("null", "NULL", "where there is no value"),
        ("error", "#N/A", "where there is no value"),
        ("rounded", "1.23E+11", "a spreadsheet has rounded"),
        ("template", "{{account}}", "a placeholder"),
        ("formula", '"=""001"""', "a formula"),
        ("blank-nbsp", "\u00a0", "is blank"),
    ):
        yield Case(f"account-{name}.csv", text("linked_account_id,deal", f"{cell},1"), [], 2, words, dry=1)
    yield Case("key-space.csv", text("ordering_key,deal", "k ,1"), [], 2, "ends with a space", dry=1)
    yield Case("sep-line-wrong.csv", text("sep=;", "deal,name", "1,Acme"), [], 2, "no semicolon, as the line before")
    yield Case("cut-in-character.csv", text("deal,name", "1,Acmé")[:-2], [], 2, "was the file cut off?", dry=1)
    skip = (*COMMON, "--skip-invalid")
    items = text("[", f"{ROW},", ROW, "]")
    for width in ("utf-16", "utf-32"):
        content = "deal,name\n1,Acme\n".encode(f"{width}-le")
        chosen = (*COMMON, "--encoding", width)
        yield Case(f"{width}-no-mark-chosen.csv", content, [], 2, f"{width}-le or {width}-be", options=chosen)
    yield Case("array-skipped.jsonl", items, [], 2, "JSON, but not JSON Lines", options=skip)
    yield Case("array.jsonl", f"[{ROW}, {ROW}]".encode(), [], 2, "JSON, but not JSON Lines")
    yield Case("pretty-later.jsonl", text(ROW, "{", ROW, "}"), [{"n": 1}], 2, "and no more", options=skip)
    yield Case("account-list.jsonl", text('{"linked_account_id": [], "payload": {}}'), [], 2, "is an array", dry=1)
    yield Case("deep.jsonl", text('{"payload": {"n": ' + "[" * 10_000 + "]" * 10_000 + "}}"), [], 2, "too deep", dry=1)
    yield Case("digits.jsonl", text('{"payload": {"n": ' + "9" * 5000 + "}}"), [], 2, "put it in quotes", dry=1)


def _shapes() -> Iterator[Case]:
    yield Case(
        "dotted.csv",
        text("payload.deal.name,payload.deal.value,payload.owner", "Acme,3,x"),
        [{"deal": {"name": "Acme", "value": "3"}, "owner": "x"}],
    )
    yield Case("dots-without-prefix.csv", text("deal.name", "Acme"), [{"deal.name": "Acme"}])
    yield Case("dotted-conflict.csv", text("payload.deal,payload.deal.name", "1,x"), [], 2, "is inside of it")
    yield Case("dotted-same.csv", text("deal,payload.deal", "1,x"), [], 2, "the same field")
    yield Case("dotted-empty.csv", text("payload.deal..name", "1"), [], 2, "an empty name")
    yield Case("dotted-list.csv", text("payload.items.0.name", "1"), [], 2, "a place in a list")
    yield Case("dotted-brackets.csv", text("payload.items[0].name", "1"), [], 2, "a place in a list")
    yield Case(
        "types-json-twice.csv",
        text("tags;x", '{"a": 1, "a": 2};1'),
        [],
        2,
        "in the cell tags, the key 'a' is there twice",
        dry=1,
        options=(*COMMON, "--types", "tags=json"),
    )
    yield Case("dotted-capital.csv", text("Payload.deal", "1"), [], 2, "must be spelled 'payload.deal'")
    yield Case(
        "dotted-and-payload.csv",
        text("payload,payload.deal.name", '"{""deal"": {""id"": 1}}",Acme'),
        [{"deal": {"id": 1, "name": "Acme"}}],
    )
    table = text("deal,won,amount,phone", "7,TRUE,1234.5,")
    yield Case("types-none.csv", table, [{"deal": "7", "won": "TRUE", "amount": "1234.5", "phone": ""}])
    yield Case(
        "types.csv",
        table,
        [{"deal": 7, "won": True, "amount": 1234.5, "phone": None}],
        options=(*COMMON, "--types", "amount=number,won=bool,deal=number", "--empty", "null"),
    )
    yield Case(
        "types-omit.csv",
        table,
        [{"deal": "7", "won": "TRUE", "amount": "1234.5"}],
        options=(*COMMON, "--empty", "omit"),
    )
    yield Case("types-unknown.csv", table, [], 2, "the columns are", options=(*COMMON, "--types", "amout=number"))
    yield Case("types-bad.csv", table, [], 2, "must be NAME=TYPE", options=(*COMMON, "--types", "amount=float"))
    yield Case(
        "types-not-number.csv",
        text("amount", "1", "1.234,50"),
        [{"amount": 1}],
        2,
        "not a number as JSON has it",
        dry=1,
        options=(*COMMON, "--types", "amount=number", "--delimiter", ";"),
    )
    yield Case(
        "types-empty.csv", text("a,won", "1,"), [], 2, "--empty null", dry=1, options=(*COMMON, "--types", "won=bool")
    )
    yield Case(
        "types-json.csv",
        text("tags", '"[1, ""b""]"'),
        [{"tags": [1, "b"]}],
        options=(*COMMON, "--types", "tags=json"),
    )
    yield Case("leading-zeros.csv", text("zip", "00501"), [{"zip": "00501"}])
    yield Case("decimal-digits.jsonl", text('{"payload": {"n": 0.1234567890123456789}}'), [], 2, "more digits", dry=1)
    yield Case(
        "numbers.jsonl",
        text('{"payload": {"n": [1, -0.5, 1e3, 0.1, 12345678901234567890]}}'),
        [{"n": [1, -0.5, 1000.0, 0.1, 12345678901234567890]}],
    )
    yield Case(
        "float-digits.jsonl",
        text('{"payload": {"n": [0.10000000000000001, 3.3333333333333333, 1.50000000000000000000000]}}'),
        [{"n": [0.1, 10 / 3, 1.5]}],
    )
    yield Case("decimal-underflow.jsonl", text('{"payload": {"n": 1e-400}}'), [], 2, "more digits", dry=1)
    yield Case(
        "decimal-exponent.jsonl", text('{"payload": {"n": 1e-99999999999999999999}}'), [], 2, "more digits", dry=1
    )
    yield Case("pretty.jsonl", json.dumps({"payload": {"n": 1}}, indent=2).encode(), [], 2, "jq -c '.'")
    yield Case("comma-after.jsonl", (ROW + ",\n" + ROW).encode(), [], 2, "not JSON", dry=1, good=1)


CASES = [
    case
    for part in (
        _delimiters,
        _encodings,
        _packed,
        _line_ends,
        _headers,
        _addresses,
        _records,
        _put_together,
        _looks,
        _shapes,
    )
    for case in part()
]


def main() -> None:
    """Write all files."""
    for case in CASES:
        (FOLDER / case.name).write_bytes(case.content)


if __name__ == "__main__":
    main()
