"""Each call of the client against Refold's OpenAPI file: its request fits, and whatever fits as an answer is read.

`refold_openapi.json` has the operations that the client uses, as the file has them. Where it is wrong or silent is in
docs/executions.md.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_multipart.multipart import parse_options_header

from refold_async import RefoldClient, UnexpectedResponseError
from tests.fakes.transport import FakeTransport, Reply
from tests.resources.support import unpace

PATHS: dict[str, Any] = json.loads((Path(__file__).parent / "refold_openapi.json").read_text())["paths"]
ID = "6a314c54d4616e99e7fa5a02"
NOW = datetime(2026, 7, 1, tzinfo=UTC)
FILES = {"doc": ("a.txt", b"bytes", "text/plain")}

Use = Callable[[RefoldClient], Awaitable[Any]]

EITHER: dict[str, Use] = {
    "trigger": lambda client: client.trigger("slack", "E", {"a": [1, None]}, config_id="c", instance_tag="t"),
    "trigger without a payload": lambda client: client.trigger("slack", "E"),
    "trigger with files": lambda client: client.trigger("slack", "E", {"a": 1}, files=FILES),
    "trigger_all": lambda client: client.trigger_all("E", {"a": 1}, instance_tag="t"),
    "trigger_all with files": lambda client: client.trigger_all("E", files=FILES),
    "executions.list": lambda client: client.executions.list().collect(),
    "executions.list with each filter": lambda client: client.executions.list(
        status="COMPLETED", slug=["a", "b"], workflow_id="w", workflow_name="n", execution_id=ID, source="Event",
        type="ASYNC", since=NOW, until=NOW, oldest_first=True, page_size=100,
    ).collect(),
    "executions.get": lambda client: client.executions.get(ID),
    "executions.stop": lambda client: client.executions.stop(ID),
    "executions.rerun": lambda client: client.executions.rerun(ID),
    "executions.matching": lambda client: client.executions.matching("token", since=NOW, details=True).collect(),
}  # fmt: skip
WITH_KEY: dict[str, Use] = {
    "events.list": lambda client: client.events.list(),
    "events.get": lambda client: client.events.get(ID),
    "events.find": lambda client: client.events.find("E"),
    "events.create": lambda client: client.events.create("E", {"a": 1}, {"type": "object"}),
    "events.update": lambda client: client.events.update(ID, "E", {"a": 1}),
    "events.delete": lambda client: client.events.delete(ID),
    "session_tokens.create": lambda client: client.session_tokens.create("acct_1"),
    "session_tokens.create anew": lambda client: client.session_tokens.create("acct_1", force_refresh=True),
}
WITH_TOKEN: dict[str, Use] = {"session_tokens.revoke": lambda client: client.session_tokens.revoke()}
CALLS = [
    *(pytest.param(use, "Org API Key", id=f"{name}, by key") for name, use in {**EITHER, **WITH_KEY}.items()),
    *(pytest.param(use, "Linked Account Token", id=f"{name}, by token") for name, use in (EITHER | WITH_TOKEN).items()),
]
OURS = {"accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host"}
OURS |= {"user-agent", "x-api-key"}


def operation_of(request: httpx.Request) -> dict[str, Any]:
    """Return the operation of a request; the path without a parameter before the one with it."""
    for template in sorted(PATHS, key=lambda each: each.count("{")):
        if re.fullmatch(
            re.sub(r"\\{.*?\\}", "[^/]+", re.escape(template)), request.url.raw_path.decode().partition("?")[0]
        ):
            operation: dict[str, Any] = PATHS[template][request.method.lower()]
            return operation
    raise AssertionError(f"{request.method} {request.url.path} is not in the file")


def check_request(request: httpx.Request, scheme: str) -> None:
    """Hold a request against its operation."""
    operation = operation_of(request)
    assert scheme in operation["security"]
    declared = {where: {each["name"]: each for each in operation["parameters"] if each["in"] == where}
                for where in ("query", "header")}  # fmt: skip
    query = parse_qsl(request.url.query.decode(), keep_blank_values=True, strict_parsing=bool(request.url.query))
    assert len({name for name, _ in query}) == len(query)
    for name, value in query:
        schema = declared["query"][name]["schema"]
        as_json = json.loads(value) if schema.get("type") in ("integer", "number", "boolean") else value
        jsonschema.validate(as_json, schema, format_checker=jsonschema.FormatChecker())
    assert set(request.headers) - OURS <= set(declared["header"]), "a header that the file does not have"
    kind = request.headers.get("content-type", "").partition(";")[0]
    assert (kind in operation["body"]) is bool(request.content)
    assert request.content or not operation["bodyRequired"]
    if kind == "application/json":
        jsonschema.validate(json.loads(request.content), operation["body"][kind])
    elif kind == "multipart/form-data":
        _, options = parse_options_header(request.headers["content-type"])
        assert options[b"boundary"] in request.content


SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=5),
    "integer": st.integers(),
    "number": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
}


def fitting(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return what fits a schema."""
    if schema.get("nullable"):
        return st.none() | fitting({name: value for name, value in schema.items() if name != "nullable"})
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices:
        return st.one_of(*map(fitting, choices))
    if "allOf" in schema:
        parts = st.tuples(*(fitting(part) for part in schema["allOf"]))
        return parts.map(lambda drawn: {name: value for part in drawn for name, value in part.items()})
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda moment: moment.isoformat() + "Z")
    if schema.get("type") == "array":
        return st.lists(fitting(schema.get("items", {})), max_size=2)
    if schema.get("type") == "object":
        fields = {name: fitting(each) for name, each in schema.get("properties", {}).items()}
        required = {name: part for name, part in fields.items() if name in schema.get("required", ())}
        return st.fixed_dictionaries(required, optional={name: fields[name] for name in fields.keys() - required})
    return SCALARS.get(schema.get("type", ""), st.none() | st.booleans() | st.integers() | st.text(max_size=3))


ANSWERS = {
    id(operation): fitting(operation["answer"]["200"])
    for operations in PATHS.values()
    for operation in operations.values()
}


class Answering(FakeTransport):
    """Answers each request with what a function returns for its operation."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any]) -> None:
        super().__init__(lambda n, before: Reply(body=json.dumps(answer(operation_of(self.requests[-1]))).encode()))


async def use_with(use: Use, scheme: str, transport: FakeTransport) -> Any:
    credential: dict[str, Any] = {"api_key": "k", "linked_account_id": "a"}
    if scheme == "Linked Account Token":
        credential = {"session_token": "t"}
    async with RefoldClient(**credential, rate_limit=None, retry=None, transport=transport) as client:
        return await use(unpace(client))


@pytest.mark.parametrize(("use", "scheme"), CALLS)
@settings(max_examples=12)
@given(data=st.data())
def test_a_request_fits_the_file_and_any_answer_that_fits_is_read(use: Use, scheme: str, data: st.DataObject) -> None:
    transport = Answering(lambda operation: data.draw(ANSWERS[id(operation)]))

    async def main() -> None:
        try:
            await use_with(use, scheme, transport)
        except UnexpectedResponseError as error:  # the file requires nothing: not that a token is in the answer
            if "without a token" not in str(error) and "with the event" not in str(error):
                raise

    asyncio.run(main())
    assert transport.requests
    for request in transport.requests:
        check_request(request, scheme)


@pytest.mark.asyncio
async def test_a_listing_whose_pages_are_all_alike_ends_in_two_requests() -> None:
    """As those of a mock server that makes one answer from the file."""
    transport = Answering(lambda operation: {"docs": [{"_id": ID}], "hasNextPage": True, "page": 0, "totalPages": 0})
    found = await use_with(EITHER["executions.list"], "Org API Key", transport)
    assert [execution.id for execution in found] == [ID]
    assert [request.url.params["page"] for request in transport.requests] == ["1", "2"]
