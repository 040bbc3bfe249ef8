"""Every error the library raises. Each carries a verdict: may the event have fired?"""

from __future__ import annotations

from typing import Any

from .values import Delivery, Sent, Trigger


class RefoldError(Exception):
    """The base of all errors of this library.

    :ivar delivery: the verdict over all attempts; None where nothing was to be fired, as for a webhook.
    :ivar attempts: how many requests were tried, 0 if none.
    :ivar trigger: what was to be sent; None where no trigger was involved.
    :ivar retry_after: seconds the server asked to wait, where it did.
    :ivar sent: what was sent; None if nothing was written.
    :ivar call_id: the id of the call, as logs and hook events name it; None where there was none.
    """

    delivery: Delivery | None
    attempts: int
    trigger: Trigger | None
    retry_after: float | None
    sent: Sent | None
    call_id: str | None

    def __init__(
        self,
        message: str = "",
        *,
        delivery: Delivery | None = Delivery.NOT_SENT,
        attempts: int = 0,
        trigger: Trigger | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.delivery = delivery
        self.attempts = attempts
        self.trigger = trigger
        self.retry_after = retry_after
        self.sent = None
        self.call_id = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is known as values that `json.dumps` takes; the payload is not among them."""
        found: dict[str, Any] = {
            "error": type(self).__name__,
            "message": self.message,
            "delivery": None if self.delivery is None else self.delivery.value,
            "safe_to_resend": self.safe_to_resend,
            "attempts": self.attempts,
            "retry_after": self.retry_after,
            "call_id": self.call_id,
            "slug": None if self.trigger is None else self.trigger.slug,
            "event": None if self.trigger is None else self.trigger.event,
            "sent": None if self.sent is None else self.sent.to_dict(),
        }
        for name in ("status_code", "error_type", "error_code", "request_id"):
            if hasattr(self, name):
                found[name] = getattr(self, name)
        return found

    @property
    def safe_to_resend(self) -> bool:
        """Whether sending the event again cannot fire it twice; never true for `Delivery.AMBIGUOUS`."""
        return self.delivery in (Delivery.NOT_SENT, Delivery.REJECTED, None)

    def __reduce__(self) -> tuple[Any, ...]:
        # By name, not by calling the class with its message: keyword arguments and subclasses' fields survive.
        state = {**self.__dict__, "trigger": picklable(self.trigger)}
        return _rebuild, (type(self), self.args), state

    def __repr__(self) -> str:
        delivery = None if self.delivery is None else self.delivery.name
        return f"{type(self).__name__}({self.message!r}, delivery={delivery}, attempts={self.attempts})"


def _rebuild(cls: type[RefoldError], args: tuple[Any, ...]) -> RefoldError:
    error = cls.__new__(cls, *args)
    error.args = args
    return error


def picklable(trigger: Trigger | None) -> Trigger | None:
    """Return a copy of the trigger without the parts that cannot be pickled."""
    if trigger is None or _pickles(trigger):
        return trigger
    from attrs import evolve

    without_context = evolve(trigger, context=None)
    return without_context if _pickles(without_context) else evolve(without_context, payload=None)


def _pickles(value: object) -> bool:
    import pickle

    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001 - a foreign __reduce__ may raise anything; the answer is "no"
        return False
    return True


class ConfigurationError(RefoldError):
    """The client's settings do not make sense, or it is used where it cannot work. Nothing was sent."""


class InvalidTriggerError(RefoldError, ValueError):
    """The trigger cannot be sent as it is. Nothing was sent."""


class InvalidRequestError(RefoldError, ValueError):
    """A request for the rest of the API cannot be sent as it is. Nothing was sent. `delivery` is None."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, delivery=None)


class ClientClosedError(RefoldError):
    """The client was closed before, or while, the call was made."""


class DeadlineExceededError(RefoldError, TimeoutError):
    """The call's deadline passed; `delivery` says whether the event may have fired."""


class PacingTimeoutError(RefoldError, TimeoutError):
    """The rate limit would have held the call past its deadline, so it failed at once. Nothing was sent."""


class RefoldConnectionError(RefoldError, ConnectionError):
    """The connection could not be made, or broke. The cause is the error of httpx."""


class RefoldTimeoutError(RefoldError, TimeoutError):
    """One attempt's connect, write, read or pool timeout passed. The cause is the error of httpx."""


class UnexpectedResponseError(RefoldError):
    """A success that is not Refold's: no JSON object came with it. Is `base_url` right?

    :ivar status_code: the HTTP status.
    :ivar body: the first 4 KiB of what came instead.
    """

    status_code: int
    body: str

    def __init__(self, message: str = "", *, status_code: int = 0, body: str = "", **verdict: Any) -> None:
        super().__init__(message, **verdict)
        self.status_code = status_code
        self.body = body


class BatchStoppedError(RefoldError):
    """The batch was stopped, or its worker was killed, while this trigger was under way.

    `delivery` says whether the event may have fired.
    """


class NotAttemptedError(RefoldError):
    """The batch stopped before this trigger's turn. Nothing was sent."""


class CallbackError(RefoldError):
    """A callable of the caller's own failed: a credential, an encoder, `before_send` or a limiter. Nothing was sent.

    The cause is what it raised.
    """


class CircuitOpenError(RefoldError):
    """Too many attempts in a row could not reach Refold, so this one was not made. Nothing was sent.

    It is raised while a `CircuitBreaker` is open; once Refold answers again, calls go through.
    """


class OutboxError(RefoldError):
    """An outbox cannot do what it was asked for. Nothing was sent, and nothing that it holds is lost."""


class OutboxFileError(OutboxError):
    """The outbox cannot be used as it is: another program's file, a newer schema, read-only, or damaged."""


class OutboxWriteError(OutboxError):
    """The outbox could not be written now: another program holds it for too long, or the disk is full."""


class UnknownKeyError(OutboxError, LookupError):
    """The outbox has no event of that key: it was never put, its transaction was rolled back, or it was pruned."""


class EventStateError(OutboxError, ValueError):
    """The event is in a state in which this cannot be done with it. The message names the state, and the cure."""


class HeldError(OutboxError):
    """The event may have fired, and may not be sent again until somebody has looked. `delivery` is AMBIGUOUS."""


class RetryLater(OutboxError):  # noqa: N818 - it asks for something, and nothing has gone wrong for good
    """The event is not settled yet: deliver it again later.

    :ivar delay: seconds until then.
    """

    delay: float

    def __init__(self, message: str = "", *, delay: float = 0.0, **verdict: Any) -> None:
        super().__init__(message, **verdict)
        self.delay = delay


class WebhookSignatureError(RefoldError):
    """Refold did not sign this body with any of the keys: do not trust it, and answer 401. `delivery` is None."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, delivery=None)


class WebhookPayloadError(RefoldError):
    """A webhook's body is too long, or it is signed but not a JSON object: answer 400. `delivery` is None."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, delivery=None)


class WebhookBodyError(ConfigurationError, TypeError):
    """A webhook's body was passed as something else than `bytes`. `delivery` is None."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, delivery=None)


class ExecutionFailedError(RefoldError):
    """An execution ended otherwise than as it should. `delivery` is None: its event did fire.

    :ivar execution: the `Execution` that ended so.
    """

    execution: Any

    def __init__(self, message: str = "", execution: Any = None) -> None:
        super().__init__(message, delivery=None)
        self.execution = execution

    @property
    def safe_to_resend(self) -> bool:
        """False: the event did fire, and sending it again would fire it twice."""
        return False


class WaitTimeoutError(RefoldError, TimeoutError):
    """An execution did not end, or was not listed, for as long as was to be waited. `delivery` is None.

    :ivar last: the `Execution` as it was last seen; None where it was never listed.
    """

    last: Any

    def __init__(self, message: str = "", last: Any = None) -> None:
        super().__init__(message, delivery=None)
        self.last = last

    @property
    def safe_to_resend(self) -> bool:
        """False: the execution may still end, and an event that started it did fire."""
        return False


class APIError(RefoldError):
    """Refold, or a proxy in front of it, answered with an error.

    :ivar status_code: the HTTP status.
    :ivar error_type: Refold's class of error, such as `BAD_REQUEST`, where given.
    :ivar error_code: Refold's code, such as `INVALID_EVENT`, where given.
    :ivar message: what went wrong and what to do about it.
    :ivar request_id: Refold's id for the request, where given.
    :ivar body: the first 4 KiB of the answer.
    """

    status_code: int
    error_type: str | None
    error_code: str | None
    request_id: str | None
    body: str

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int = 0,
        error_type: str | None = None,
        error_code: str | None = None,
        request_id: str | None = None,
        body: str = "",
        **verdict: Any,
    ) -> None:
        super().__init__(message, **verdict)
        self.status_code = status_code
        self.error_type = error_type
        self.error_code = error_code
        self.request_id = request_id
        self.body = body

    @classmethod
    def of_status(cls, status_code: int) -> type[APIError]:
        """Return the most precise class for a status."""
        if status_code >= 500:
            return ServerError
        return _BY_STATUS.get(status_code, APIError)


class BadRequestError(APIError):
    """400: Refold did not understand the event; often its name is not spelled as in the console."""


class AuthenticationError(APIError):
    """401: the credential is wrong, or of the other environment."""


class PermissionDeniedError(APIError):
    """403: the credential may not do this."""


class NotFoundError(APIError):
    """404: no such event, application or account."""


class ConflictError(APIError):
    """409: the request conflicts with the state of the resource."""


class RateLimitedError(APIError):
    """429: too many requests; `retry_after` says how long to wait, where Refold said so."""


class ServerError(APIError):
    """5xx: something failed behind the API, perhaps after the event was queued."""


_BY_STATUS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitedError,
}
