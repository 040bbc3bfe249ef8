"""A client's settings: from arguments and environment, validated once."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, cast

import httpx
from attrs import evolve, field, fields_dict, frozen

from .._api.headers import header_value
from .._types.errors import ConfigurationError, InvalidTriggerError
from .._types.filling import Filled
from .._types.values import (
    RESERVED_HEADERS,
    FileTypes,
    Idempotency,
    JSONEncoder,
    RateLimit,
    Trigger,
    Unset,
    is_header_name,
)
from ..policies.retry import RetryPolicy
from .credentials import Credential, Secret
from .notify import Hooks

if TYPE_CHECKING:
    from ..hooks import Hook
    from ..limiters import RateLimiter
    from ..policies.circuit import CircuitBreaker

TimeoutTypes = float | httpx.Timeout | None
"""Seconds for each phase of an attempt, an `httpx.Timeout`, or None for no limit."""


class Timeouts:
    """Seconds for one attempt; None for no limit. Not changed once it is made."""

    __slots__ = ("connect", "pool", "read", "write")

    def __init__(
        self,
        connect: float | None = 5.0,
        write: float | None = 5.0,
        read: float | None = 10.0,
        pool: float | None = 5.0,
    ) -> None:
        self.connect = connect
        self.write = write
        self.read = read
        self.pool = pool

    def as_dict(self) -> dict[str, float | None]:
        """Return them as httpx's extension."""
        return {"connect": self.connect, "read": self.read, "write": self.write, "pool": self.pool}


@frozen(kw_only=True, eq=False, slots=False)
class Sending(Filled):
    """An attempt that is about to be made: its slot is granted, and nothing of it is written yet.

    :param call_id: the call's id, as logs, errors and hook events name it.
    :param trigger: what is to be sent, as it was given.
    :param attempt: counts from 1.
    :param idempotency_key: the key that goes with it, if any.
    :param linked_account_id: the end customer, as resolved.
    :param config_id: that customer's configuration, as resolved.
    :param instance_tag: the label, as sent.
    :param token: the token that was minted for the trigger, if any.
    """

    call_id: str
    trigger: Trigger
    attempt: int
    idempotency_key: str | None = None
    linked_account_id: str | None = None
    config_id: str | None = None
    instance_tag: str | None = None
    token: str | None = None


BeforeSend = Callable[[Sending], object] | Callable[[Sending], Awaitable[object]]
"""Runs once for each attempt, just before its first byte. What it raises ends the call, and nothing was sent."""


class Options(TypedDict, total=False):
    """What a client takes and `with_options` can change; what is left out stays as it is."""

    linked_account_id: str | None
    config_id: str | None
    timeout: TimeoutTypes | Unset
    deadline: float | None | Unset
    retry: RetryPolicy | None | Unset
    rate_limit: RateLimit | RateLimiter | None | Unset
    idempotency: Idempotency | None | Unset
    extra_headers: Mapping[str, str] | None | Unset
    json_encoder: JSONEncoder | None | Unset
    hooks: Iterable[Hook] | Unset
    before_send: BeforeSend | None | Unset
    circuit_breaker: CircuitBreaker | None | Unset
    tag: bool | Unset
    tag_field: str | None | Unset


class CallOptions(TypedDict, total=False):
    """The keyword arguments of `RefoldClient.trigger`: `async def fire(**options: Unpack[CallOptions])`.

    :param linked_account_id: another end customer than the client's.
    :param config_id: that customer's configuration.
    :param instance_tag: a label for the execution in Refold.
    :param idempotency_key: the key by which Refold may drop repeats.
    :param first_sent_at: when the first attempt with this key was made.
    :param timeout: seconds per attempt.
    :param deadline: seconds for the whole call.
    :param retry: None to try once.
    :param before_send: is passed a `Sending` before each attempt.
    :param files: files to send along.
    """

    linked_account_id: str | None
    config_id: str | None
    instance_tag: str | None
    idempotency_key: str | None
    first_sent_at: datetime | None
    timeout: TimeoutTypes | Unset
    deadline: float | None | Unset
    retry: RetryPolicy | None | Unset
    before_send: BeforeSend | None
    files: Mapping[str, FileTypes] | None


class WaitOptions(TypedDict, total=False):
    """What a wait takes besides its own arguments.

    :param linked_account_id: another end customer than the client's; the client's `config_id` does not come along.
    :param config_id: that customer's configuration.
    :param deadline: seconds for each request, its attempts and the waits between them included.
    :param retry: None to try once.
    """

    linked_account_id: str | None
    config_id: str | None
    deadline: float | None | Unset
    retry: RetryPolicy | None | Unset


class RequestOptions(WaitOptions, total=False):
    """What a call of a resource, such as `executions.get`, takes besides its own arguments.

    :param timeout: seconds per attempt, or an `httpx.Timeout`.
    """

    timeout: TimeoutTypes | Unset


def to_timeouts(value: Any) -> Timeouts:
    """Convert a timeout as httpx takes it.

    :raises ConfigurationError: for what is not a number of seconds above 0.
    """
    if isinstance(value, Timeouts):
        return value
    try:
        timeout = httpx.Timeout(value).as_dict()
        if any(
            s is not None and (isinstance(s, bool) or not isinstance(s, int | float) or not 0 < s < math.inf)
            for s in timeout.values()
        ):
            raise ValueError
    except (TypeError, ValueError, AssertionError):
        raise ConfigurationError(
            f"timeout must be seconds above 0, an httpx.Timeout, or None for no limit, not {value!r}"
        ) from None
    return Timeouts(timeout["connect"], timeout["write"], timeout["read"], timeout["pool"])


def to_deadline(value: Any) -> float | None:
    """Check a deadline.

    :raises ConfigurationError: for what is not a number of seconds above 0.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigurationError(f"deadline must be seconds above 0, or None for no limit, not {value!r}")
    return float(value)


def to_retry(value: Any) -> RetryPolicy | None:
    """Check a policy.

    :raises ConfigurationError: saying what it should be.
    """
    if value is None or isinstance(value, RetryPolicy):
        return value
    raise ConfigurationError(f"retry must be a RetryPolicy, or None for no retries, not {value!r}")


def to_before_send(value: Any) -> BeforeSend | None:
    """Check a callable.

    :raises ConfigurationError: for what cannot be called.
    """
    if value is None or callable(value):
        return cast("BeforeSend | None", value)
    raise ConfigurationError(f"before_send must be a callable, sync or async, or None, not {value!r}")


def _to_rate_limit(value: Any) -> RateLimit | RateLimiter | None:
    if value is None or isinstance(value, RateLimit):
        return value
    from ..limiters import is_limiter

    if is_limiter(value):
        return cast("RateLimiter", value)
    raise ConfigurationError(f"rate_limit must be a RateLimit, a RateLimiter, or None for no limit, not {value!r}")


def _to_idempotency(value: Any) -> Idempotency | None:
    if value is None or isinstance(value, Idempotency):
        return value
    raise ConfigurationError(f"idempotency must be an Idempotency, or None, not {value!r}")


def _to_encoder(value: Any) -> JSONEncoder | None:
    if value is None or callable(value):
        return cast("JSONEncoder | None", value)
    raise ConfigurationError(f"json_encoder must be a callable that returns bytes, or None, not {value!r}")


def _to_circuit_breaker(value: Any) -> CircuitBreaker | None:
    if value is None or callable(getattr(value, "begin_probe", None)):
        return cast("CircuitBreaker | None", value)
    raise ConfigurationError(f"circuit_breaker must be a CircuitBreaker, or None, not {value!r}")


def _to_tag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ConfigurationError(f"tag must be True or False, not {value!r}")


def _to_tag_field(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise ConfigurationError(f"tag_field must be the name of a field of the payload, or None, not {value!r}")


def _to_headers(value: Any) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(value, tuple):  # checked already
        return value
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(f"extra_headers must be a mapping of names to values, not {type(value).__name__}")
    checked = []
    for name, text in dict(value or {}).items():
        if not is_header_name(name):
            raise ConfigurationError(f"extra_headers holds {name!r}, which is not a valid header name")
        if name.lower() in RESERVED_HEADERS:
            raise ConfigurationError(f"extra_headers may not set {name!r}: the client sets that header itself")
        try:
            checked.append((name.encode("ascii"), header_value(f"extra_headers[{name!r}]", text)))
        except InvalidTriggerError as error:
            raise ConfigurationError(str(error)) from None
    return tuple(checked)


def _to_account_id(value: Any) -> str | None:
    return _check_id("linked_account_id", value)


def _to_config_id(value: Any) -> str | None:
    return _check_id("config_id", value)


def _check_id(name: str, value: Any) -> str | None:
    if value is None:
        return None
    try:
        header_value(name, value)
    except InvalidTriggerError as error:
        raise ConfigurationError(str(error)) from None
    return cast("str", value)


@frozen(kw_only=True, repr=False, eq=False)
class Settings:
    """How a client, or a view of one, makes its calls. Holds no credential.

    A new setting is one field here, with a converter that checks it, and one entry in `Options`, for type checkers.

    :raises ConfigurationError: for a value that makes no sense, naming the setting.
    """

    linked_account_id: str | None = field(default=None, converter=_to_account_id)
    config_id: str | None = field(default=None, converter=_to_config_id)
    timeout: Timeouts = field(factory=Timeouts, converter=to_timeouts)
    deadline: float | None = field(default=30.0, converter=to_deadline)
    retry: RetryPolicy | None = field(factory=RetryPolicy, converter=to_retry)
    rate_limit: RateLimit | RateLimiter | None = field(factory=RateLimit, converter=_to_rate_limit)
    idempotency: Idempotency | None = field(default=None, converter=_to_idempotency)
    extra_headers: tuple[tuple[bytes, bytes], ...] = field(default=(), converter=_to_headers, repr=False)
    json_encoder: JSONEncoder | None = field(default=None, converter=_to_encoder)
    hooks: Hooks = field(factory=Hooks, converter=Hooks)
    before_send: BeforeSend | None = field(default=None, converter=to_before_send)
    circuit_breaker: CircuitBreaker | None = field(default=None, converter=_to_circuit_breaker)
    tag: bool = field(default=False, converter=_to_tag)
    tag_field: str | None = field(default=None, converter=_to_tag_field)

    def __repr__(self) -> str:  # also of a half-built one, when a converter has refused a value
        return "<Settings>"

    def account(self, linked_account_id: str | None, config_id: str | None) -> tuple[str | None, str | None]:
        """Return for whom a call is. Naming another account never takes the first one's configuration along."""
        if linked_account_id is None or linked_account_id == self.linked_account_id:
            return self.linked_account_id, config_id if config_id is not None else self.config_id
        return linked_account_id, config_id

    def changed(self, options: Mapping[str, Any]) -> Settings:
        """Return these settings with some of them replaced.

        :raises ConfigurationError: for a value that makes no sense.
        """
        unknown = sorted(options.keys() - fields_dict(Settings).keys())
        if unknown:
            raise ConfigurationError(f"with_options() cannot change {', '.join(unknown)}: make another client for that")
        given = {name: value for name, value in options.items() if not isinstance(value, Unset)}
        account, config = self.account(given.pop("linked_account_id", None), given.pop("config_id", None))
        return evolve(self, linked_account_id=account, config_id=config, **given)


def first_settings(options: Mapping[str, Any]) -> Settings:
    """Make a client's settings; accounts not given come from the environment.

    :raises ConfigurationError: for a value that makes no sense.
    """
    unknown = sorted(options.keys() - fields_dict(Settings).keys())
    if unknown:
        raise TypeError(f"RefoldClient() has no argument {unknown[0]!r}")
    account, config = options.get("linked_account_id"), options.get("config_id")
    stored = os.environ.get("REFOLD_LINKED_ACCOUNT_ID") or None
    if config is None and (account is None or stored is None or account == stored):
        config = _check_id("REFOLD_CONFIG_ID", os.environ.get("REFOLD_CONFIG_ID") or None)
    if account is None:
        account = _check_id("REFOLD_LINKED_ACCOUNT_ID", stored)
    return Settings().changed({**options, "linked_account_id": account, "config_id": config})


def find_credential(api_key: Secret | None, session_token: Secret | None) -> Credential | ConfigurationError:
    """Return the one credential there is: an argument, else the environment. Return the error for none, or two.

    It is returned and not raised: a traceback that prints local variables would show the credential.
    """
    if api_key is not None and session_token is not None:
        return ConfigurationError("api_key and session_token were both given: pass the one that these calls should use")
    if api_key is not None:
        return Credential.of("api_key", api_key)
    if session_token is not None:
        return Credential.of("session_token", session_token)
    stored_key, stored_token = os.environ.get("REFOLD_API_KEY"), os.environ.get("REFOLD_SESSION_TOKEN")
    if stored_key is not None and stored_token is not None:
        return ConfigurationError("REFOLD_API_KEY and REFOLD_SESSION_TOKEN are both set: unset one, or pass one")
    if stored_key is not None:
        return Credential.of("api_key", stored_key, name="REFOLD_API_KEY")
    if stored_token is not None:
        return Credential.of("session_token", stored_token, name="REFOLD_SESSION_TOKEN")
    return ConfigurationError("no credential: pass api_key= or session_token=, or set REFOLD_API_KEY")
