"""A client's settings: from arguments and environment, validated once."""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, cast

import httpx
from attrs import evolve, field, frozen

from ._credentials import Credential, Secret
from ._hooks import Hook, Hooks
from ._types.errors import ConfigurationError, InvalidTriggerError
from ._types.values import RESERVED_HEADERS, UNSET, Idempotency, JSONEncoder, RateLimit, Unset, is_header_name
from ._wire import DEFAULT_BASE_URL, EVENT_PATH, USER_AGENT, header_value
from .limiters import RateLimiter, is_limiter
from .policies.retry import RetryPolicy

TimeoutTypes = float | httpx.Timeout | None
DEFAULT_TIMEOUT = httpx.Timeout(connect=5.0, write=5.0, read=10.0, pool=5.0)
DEFAULT_DEADLINE = 30.0


class Options(TypedDict, total=False):
    """What `with_options` can change; what is left out stays as the client has it."""

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


@frozen(kw_only=True)
class Settings:
    """How a client, or a view of one, makes its calls. Holds no credential."""

    linked_account_id: str | None
    config_id: str | None
    timeout: dict[str, float | None]
    deadline: float | None
    retry: RetryPolicy | None
    rate_limit: RateLimit | RateLimiter | None
    idempotency: Idempotency | None
    extra_headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    json_encoder: JSONEncoder | None
    hooks: Hooks

    def account(self, linked_account_id: str | None, config_id: str | None) -> tuple[str | None, str | None]:
        """Say for whom a call is. Naming another account never takes the first one's configuration along."""
        if linked_account_id is None or linked_account_id == self.linked_account_id:
            return self.linked_account_id, config_id if config_id is not None else self.config_id
        return linked_account_id, config_id

    def changed(self, options: Options) -> Settings:
        """Give these settings with some of them replaced.

        :raises ConfigurationError: for a value that makes no sense.
        """
        unknown = sorted(options.keys() - Options.__annotations__.keys())
        if unknown:
            raise ConfigurationError(f"with_options() cannot change {', '.join(unknown)}: make another client for that")
        given = {name: value for name, value in options.items() if value is not UNSET}
        account, config = self.account(
            cast("str | None", given.pop("linked_account_id", None)),
            cast("str | None", given.pop("config_id", None)),
        )
        checked = {name: _CHECKS[name](value) for name, value in given.items()}
        checked["linked_account_id"] = check_id("linked_account_id", account)
        checked["config_id"] = check_id("config_id", config)
        return evolve(self, **checked)


def check_verify(value: object) -> bool | ssl.SSLContext:
    """Turn the path of a CA file into a context, once.

    :raises ConfigurationError: for a file that cannot be read, or holds no certificates.
    """
    if isinstance(value, str | os.PathLike):
        try:
            return ssl.create_default_context(cafile=value)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"verify={value!r} is not a readable file of CA certificates in PEM") from error
    if isinstance(value, bool | ssl.SSLContext):
        return value
    raise ConfigurationError(f"verify must be True, an ssl.SSLContext, or the path of a CA file, not {value!r}")


def check_id(name: str, value: str | None) -> str | None:
    """Refuse an id that no header can carry.

    :raises ConfigurationError: naming the setting.
    """
    if value is None:
        return None
    try:
        header_value(name, value)
    except InvalidTriggerError as error:
        raise ConfigurationError(str(error)) from None
    return value


def check_timeout(value: Any) -> dict[str, float | None]:
    """Turn a timeout into httpx's extension.

    :raises ConfigurationError: for what is not a number of seconds above 0.
    """
    try:
        timeout = httpx.Timeout(value).as_dict()
        if any(s is not None and not (isinstance(s, int | float) and 0 < s < math.inf) for s in timeout.values()):
            raise ValueError
    except (TypeError, ValueError, AssertionError):
        raise ConfigurationError(
            f"timeout must be seconds above 0, an httpx.Timeout, or None for no limit, not {value!r}"
        ) from None
    return timeout


def check_deadline(value: Any) -> float | None:
    """Refuse a deadline that is no number of seconds.

    :raises ConfigurationError: saying what it should be.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigurationError(f"deadline must be seconds above 0, or None for no limit, not {value!r}")
    return float(value)


def check_retry(value: Any) -> RetryPolicy | None:
    """Refuse what is no policy.

    :raises ConfigurationError: saying what it should be.
    """
    if value is None or isinstance(value, RetryPolicy):
        return value
    raise ConfigurationError(f"retry must be a RetryPolicy, or None for no retries, not {value!r}")


def _check_rate_limit(value: Any) -> RateLimit | RateLimiter | None:
    if value is None or isinstance(value, RateLimit):
        return value
    if is_limiter(value):
        return cast("RateLimiter", value)
    raise ConfigurationError(f"rate_limit must be a RateLimit, a RateLimiter, or None for no limit, not {value!r}")


def _check_idempotency(value: Any) -> Idempotency | None:
    if value is None or isinstance(value, Idempotency):
        return value
    raise ConfigurationError(f"idempotency must be an Idempotency, or None, not {value!r}")


def _check_encoder(value: Any) -> JSONEncoder | None:
    if value is None or callable(value):
        return cast("JSONEncoder | None", value)
    raise ConfigurationError(f"json_encoder must be a callable that gives bytes, or None, not {value!r}")


def _check_headers(value: Mapping[str, str] | None) -> tuple[tuple[bytes, bytes], ...]:
    checked = []
    for name, text in dict(value or {}).items():
        if not is_header_name(name):
            raise ConfigurationError(f"extra_headers holds {name!r}, which is no name of a header")
        if name.lower() in RESERVED_HEADERS:
            raise ConfigurationError(f"extra_headers may not set {name!r}: the client sets that header itself")
        try:
            checked.append((name.encode("ascii"), header_value(f"extra_headers[{name!r}]", text)))
        except InvalidTriggerError as error:
            raise ConfigurationError(str(error)) from None
    return tuple(checked)


_CHECKS: dict[str, Any] = {
    "timeout": check_timeout,
    "deadline": check_deadline,
    "retry": check_retry,
    "rate_limit": _check_rate_limit,
    "idempotency": _check_idempotency,
    "extra_headers": _check_headers,
    "json_encoder": _check_encoder,
    "hooks": Hooks,
}


def first_settings(options: Options) -> Settings:
    """Make a client's settings; accounts not given come from the environment.

    :raises ConfigurationError: for a value that makes no sense.
    """
    bare = Settings(
        linked_account_id=None,
        config_id=None,
        timeout=check_timeout(DEFAULT_TIMEOUT),
        deadline=DEFAULT_DEADLINE,
        retry=RetryPolicy(),
        rate_limit=RateLimit(),
        idempotency=None,
        extra_headers=(),
        json_encoder=None,
        hooks=Hooks(),
    )
    account, config = options.get("linked_account_id"), options.get("config_id")
    stored = os.environ.get("REFOLD_LINKED_ACCOUNT_ID") or None
    if config is None and (account is None or stored is None or account == stored):
        config = os.environ.get("REFOLD_CONFIG_ID") or None
    if account is None:
        account = stored
    return bare.changed({**options, "linked_account_id": account, "config_id": config})


def find_credential(api_key: Secret | None, session_token: Secret | None) -> Credential:
    """Take the one credential there is: an argument, else the environment.

    :raises ConfigurationError: for none, or two.
    """
    if api_key is not None and session_token is not None:
        raise ConfigurationError("api_key and session_token were both given: pass the one that these calls should use")
    if api_key is not None:
        return Credential("api_key", api_key)
    if session_token is not None:
        return Credential("session_token", session_token)
    stored_key, stored_token = os.environ.get("REFOLD_API_KEY"), os.environ.get("REFOLD_SESSION_TOKEN")
    if stored_key is not None and stored_token is not None:
        raise ConfigurationError("REFOLD_API_KEY and REFOLD_SESSION_TOKEN are both set: unset one, or pass one")
    if stored_key is not None:
        return Credential("api_key", stored_key)
    if stored_token is not None:
        return Credential("session_token", stored_token)
    raise ConfigurationError("no credential: pass api_key= or session_token=, or set REFOLD_API_KEY")


def event_url(base_url: str | httpx.URL | None) -> httpx.URL:
    """Join the path of the event endpoint to the base URL, keeping its path prefix; ends with a slash.

    :raises ConfigurationError: for what is not an absolute http or https URL, or hides a credential.
    """
    given = base_url if base_url is not None else (os.environ.get("REFOLD_BASE_URL") or DEFAULT_BASE_URL)
    try:
        url = httpx.URL(given)
    except (TypeError, httpx.InvalidURL):
        raise ConfigurationError("base_url is not a URL: it should look like https://app.refold.ai") from None
    if url.scheme not in ("http", "https") or not url.host or "%" in url.host:  # httpx quotes what no host can hold
        raise ConfigurationError("base_url must begin with http:// or https:// and name a host")
    if url.userinfo:
        raise ConfigurationError("base_url must not hold a user name or password: they would end in logs")
    if url.query or url.fragment:
        raise ConfigurationError("base_url must not have a query or a fragment: only a host and, if need be, a path")
    return url.copy_with(raw_path=url.raw_path.rstrip(b"/") + EVENT_PATH.encode())


def base_of(event_url: httpx.URL) -> httpx.URL:
    """Give the base URL again, of the URL that `event_url` gave."""
    return event_url.copy_with(raw_path=event_url.raw_path.removesuffix(EVENT_PATH.encode()) or b"/")


DEFAULT_HEADERS = (
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"gzip, deflate"),
    (b"User-Agent", USER_AGENT.encode()),
    (b"Content-Type", b"application/json"),
)
