"""Sending one trigger: from its request to its receipt or error, with the retry loop around the attempts."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .._api.request import EncodedRequest
from .._api.response import parse_object
from .._api.trigger import TriggerEncoder
from .._logging import logger
from .._types.errors import CallbackError, RefoldError
from .._types.evidence import NOT_REACHED, Cut, Evidence
from .._types.values import Delivery, Receipt, Trigger
from .._wire.loops import ends_program
from .._wire.observed import NEVER_SENT
from ..policies.budget import RetryBudget
from ..policies.verdict import ACCEPTED_VERDICT, Classifier, FailureKind, Verdict, judge
from .attempt import Attempt
from .call import Call, CallState
from .gate import Gate
from .launch import Launcher
from .prepare import continue_window, read_parts
from .results import build_error, build_receipt, cut_short
from .usercode import call_async, call_logged

if TYPE_CHECKING:
    from .._api.address import Address
    from ..limiters import PriorityRateLimiter
    from .credentials import Credential
    from .lifecycle import Lifecycle
    from .settings import Settings
    from .slots import FairSemaphore


MAX_UNCOUNTED_THROTTLES = 20
"""How often a patient call may be asked to slow down, without that counting as one of its attempts."""


_, _QUEUED, _PREPARING, _ON_WIRE, _BACKING_OFF, _DONE = CallState  # looked up once, as in `call`
_ACCEPTED = Delivery.ACCEPTED

S = TypeVar("S", bound="Sender")


class Sender:
    """Sends the triggers of a client, or of a view of it, with one set of settings.

    :param life: what the client and its views share.
    :param limiter: paces the writes; None for no limit.
    :param budget: limits retries, for the client and its views together.
    :param sleep: waits that many seconds, between two attempts.
    :param jitter: returns numbers in [0, 1).
    """

    make_call = Call
    goes_in_steps = False
    """Whether no attempt is made in one go, in the frame of the caller."""

    def __init__(
        self,
        life: Lifecycle,
        credential: Credential,
        address: Address,
        settings: Settings,
        limiter: PriorityRateLimiter | None,
        budget: RetryBudget,
        *,
        sleep: Callable[[float], Awaitable[None]] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.life = life
        self.credential = credential
        self.address = address
        self.settings = settings
        self.limiter = limiter
        self.budget = budget
        self.encoder = TriggerEncoder(
            address,
            credential,
            extra_headers=settings.extra_headers,
            idempotency=settings.idempotency,
            encoder=settings.json_encoder,
            tag=settings.tag,
            tag_field=settings.tag_field,
        )
        self._sleep = sleep
        self._jitter = jitter
        self._hooks = settings.hooks or None
        self._window = None if settings.idempotency is None else settings.idempotency.retry_within
        self._conflict_is_duplicate = settings.idempotency is not None and settings.idempotency.conflict == "duplicate"
        breaker = settings.circuit_breaker
        self.gate = None if breaker is None else Gate(breaker, life, self._read_for)
        # What an attempt may need that cannot be done in the callback that frees its slot.
        goes_in_steps = self.goes_in_steps or credential.rotates or settings.before_send is not None
        self.launcher = Launcher(life, limiter, self.gate, self._window, goes_in_steps=goes_in_steps)
        # Whether nobody but `judge` has a say in what a plain acceptance means.
        self._judges_plainly = breaker is None and not self.goes_in_steps

    def with_settings(self, settings: Settings, limiter: PriorityRateLimiter | None) -> Sender:
        """Return a sender for a view: other settings, and perhaps another limiter; the rest is shared."""
        return self.derived(Sender, settings, limiter, self.budget)

    def derived(self, kind: type[S], settings: Settings, limiter: PriorityRateLimiter | None, budget: RetryBudget) -> S:
        """Return a sender of another kind, on the same connections."""
        return kind(
            self.life, self.credential, self.address, settings, limiter, budget, sleep=self._sleep, jitter=self._jitter
        )

    async def _read_for(self, call: Call) -> bool | None:
        """Make one read in the name of a call, to see whether Refold can be reached; None if none can be made."""
        read = self.life.probe
        return None if read is None else await read(self, call.linked_account_id)

    @property
    def slots(self) -> FairSemaphore | None:
        """What bounds how many requests are under way."""
        return self.life.slots

    def new_call(self, trigger: Trigger, *, is_patient: bool = False) -> Call:
        """Begin a call for a trigger.

        :param is_patient: its deadline does not run while it waits for the rate limit, as in batches.
        """
        settings = self.settings
        call = Call(
            trigger.slug,
            trigger.event,
            trigger.payload,
            trigger.linked_account_id,
            trigger.config_id,
            trigger.instance_tag,
            trigger.idempotency_key,
            settings.timeout,
            settings.retry,
        )
        call.given = trigger
        call.first_sent_at = trigger.first_sent_at
        call.files = trigger.files
        call.is_patient = is_patient
        return call

    def encode(self, call: Call) -> EncodedRequest:
        """Check what is to be sent, and turn it into a request.

        :raises InvalidTriggerError: for what could not be sent.
        :raises CallbackError: for code of the caller's own that raised.
        """
        settings = self.settings
        account, config = settings.linked_account_id, settings.config_id
        if call.linked_account_id is not None or call.config_id is not None:
            account, config = settings.account(call.linked_account_id, call.config_id)
        try:
            return self.encoder.encode(
                call.slug, call.event, call.payload, account, config, call.instance_tag, call.idempotency_key,
                call.parts, call.is_for_all,
            )  # fmt: skip
        except RefoldError:
            raise
        except BaseException as error:  # an encoder, a mapping or a string of the caller's own class
            # Nothing is awaited here, so that a cancellation is their own.
            if ends_program(error):
                raise
            raise CallbackError(f"encoding the trigger raised {type(error).__name__}; nothing was sent") from error

    async def send(self, call: Call, deadline: float | None) -> Any:
        """Send the trigger. Returns its receipt once it was accepted; other calls return what is theirs.

        Whoever sends many has these lines in a frame of their own, so that a call that waits is one coroutine.

        :param deadline: seconds for all of it; None for no limit.
        :raises RefoldError: with the verdict, when it was not.
        """
        try:
            evidence = await self.begin(call, deadline)
            ended = self.conclude(call, evidence)
        except BaseException:
            self.break_off(call)
            raise
        return ended or await self.go_on(call, evidence)

    def begin(self, call: Call, deadline: float | None) -> Awaitable[Evidence | None]:
        """Check what is to be sent, and begin the first attempt. Whatever is raised, `break_off` is to be called.

        Returns what has to be awaited for its evidence, for `conclude`; that is None where there is more to do first.

        :param deadline: seconds for all of the call; None for no limit.
        :raises RefoldError: for what could not be sent.
        """
        life = self.life
        refused: RefoldError | None = None
        try:
            life.check()
            call.started = life.clock.now()
            if deadline is not None:
                call.set_time(deadline, call.started)
            if call.files is not None:
                return self._begin_with_files(call)
            self._prepare(call)
        except RefoldError as error:
            refused = error
        if refused is not None:
            raise self._refused(call, refused)
        life.calls.add(call)
        self.budget.record_call()
        return self._attempt(call)

    async def _begin_with_files(self, call: Call) -> Evidence | None:
        refused: RefoldError | None = None
        try:
            await self._read_files(call)
            self._prepare(call)
        except RefoldError as error:
            refused = error
        if refused is not None:
            raise self._refused(call, refused)
        self.life.calls.add(call)
        self.budget.record_call()
        return await self._attempt(call)

    def _prepare(self, call: Call) -> None:
        call.request = self.encode(call)
        if call.first_sent_at is not None:
            continue_window(call, self._window)

    def _refused(self, call: Call, error: RefoldError) -> RefoldError:
        """Return the error of a call that was never begun."""
        call.state = _DONE
        call.name_error(error)
        self._finish(call, error.delivery or Delivery.NOT_SENT, None, error)
        return error

    def conclude(self, call: Call, evidence: Evidence | None) -> Any:
        """Return what a call returns whose first attempt was plainly accepted; None if there is more to it: `go_on`."""
        if evidence is None:
            return None
        if not self._judges_plainly or not self._is_plain_acceptance(call, evidence):
            return None
        if self._hooks is not None or logger.isEnabledFor(logging.DEBUG):
            self._report(call, evidence, ACCEPTED_VERDICT)
        self._over(call)
        receipt = self._success(call)
        if self._hooks is not None:
            self._finish(call, _ACCEPTED, receipt, None)
        return receipt

    async def go_on(self, call: Call, evidence: Evidence | None) -> Any:
        """Go on after the first attempt that `conclude` did not end: judge it, and try until the call is decided.

        :raises RefoldError: with the verdict, when it was not accepted.
        """
        try:
            accepted = await self._try_until_decided(call, evidence)
        except BaseException:
            self.break_off(call)
            raise
        self._over(call)
        if accepted:
            receipt = self._success(call)
            self._finish(call, _ACCEPTED, receipt, None)
            return receipt
        failure = self._failure(call)
        self.life.raised(failure, self.settings.idempotency)
        self._finish(call, call.delivery, None, failure)
        raise failure

    def break_off(self, call: Call) -> None:
        """End a call that was cancelled, unless it has ended already: the hooks are told the verdict."""
        if call.state is _DONE:
            return
        self._abandon(call)
        call.state = _DONE
        call.exchange = None
        self.life.finished(call)
        self._finish(call, call.delivery, None, None)

    def _over(self, call: Call) -> None:
        call.state = _DONE
        call.exchange = None  # which knows the call: without the circle both are freed at once
        life = self.life
        life.calls.discard(call)
        if life.is_closed:
            life.finished(call)

    def _success(self, call: Call) -> Any:
        """Return what an accepted call returns."""
        elapsed = self.life.clock.now() - call.started
        return build_receipt(call, call.last, call.document, self.address.host, elapsed, self.credential)

    def _failure(self, call: Call) -> RefoldError:
        """Return the error of a call that was not accepted."""
        via = None if call.last.status is not None else self.life.proxy()
        return build_error(call, self.address.host, self.credential, via=via)

    async def _read_files(self, call: Call) -> None:
        """Read the files in a thread, once for all attempts. The call's deadline and `aclose` end the wait.

        :raises RefoldError: when they cannot be sent, or the call was ended meanwhile.
        """
        import anyio.to_thread

        life = self.life
        life.calls.add(call)
        try:
            with life.scope_of(call):
                await anyio.to_thread.run_sync(read_parts, call, abandon_on_cancel=True)
        finally:
            life.finished(call)
        life.check()  # nothing else awaits between the look at the start and the first attempt
        if call.interrupted is not None:
            raise cut_short(call.interrupted, call)

    # The loop.

    def _is_plain_acceptance(self, call: Call, evidence: Evidence) -> bool:
        """Judge an attempt that nobody watches. Returns whether it was accepted, and nothing is left to decide.

        This is the first row of `judge`, for a whole 200 to the only request that was made, in place.
        """
        policy = call.policy
        if evidence.status != 200 or not evidence.complete or evidence.earlier:
            return False
        if policy is not None and policy.classify is not None:
            return False
        if type(evidence.head) is bytes:
            document = parse_object(evidence.body)
            if document is None:
                return False
            call.document = document
        elif not call.is_refold(evidence):
            return False
        call.last = evidence
        call.is_judged = True
        call.tried = 1
        call.verdicts = [ACCEPTED_VERDICT]
        return True

    async def _try_until_decided(self, call: Call, evidence: Evidence | None) -> bool:
        """Try until it is accepted, or may not be tried again. Returns whether it was accepted.

        :param evidence: of the first attempt; None where there was more to do before its write.
        """
        while True:
            if evidence is None:
                evidence = await Attempt(self, call).run()
            verdict = self._judge(call, evidence)
            if evidence.status == 429:
                await self._throttled(call, verdict)
            self._report(call, evidence, verdict)
            if verdict.kind is None:
                return True
            delay = self._delay(call, verdict)
            if delay is None or not await self._back_off(call, delay, verdict):
                return False
            call.is_judged = False
            evidence = await self._attempt(call)

    def _attempt(self, call: Call) -> Awaitable[Evidence | None]:
        """Make one attempt: at once if all is at hand, else in steps.

        Returns what has to be awaited for its evidence; that is None where it waited for a slot, and has to go on in
        steps.
        """
        call.attempt += 1
        if self._hooks is not None:
            call.began = self.life.clock.now()
            self._hooks.attempt_started(call)
        if call.interrupted is None and call.slots is None:
            future = self.launcher.at_once(call)
            if future is not None:
                return future
        return Attempt(self, call).run()

    def _abandon(self, call: Call) -> None:
        """Leave nothing behind of a call that was cancelled, and judge it by what is known."""
        if call.is_judged:  # between two attempts, or before the receipt
            call.release_slot()
            return
        evidence = NOT_REACHED
        if call.state is _QUEUED:
            call.leave_queue()
        elif call.state is _ON_WIRE and call.exchange is not None:
            evidence = call.exchange.abandon(Cut.CANCELLED)
        call.release_slot()
        self._judge(call, evidence)

    # The verdict.

    def _judge(self, call: Call, evidence: Evidence) -> Verdict:
        """Judge an attempt, and keep the verdict."""
        call.document = None
        policy = call.policy
        classify = None if policy is None or policy.classify is None else _guarded(policy.classify)
        earlier = [self._judge_one(call, leg, classify) for leg in evidence.earlier] if evidence.earlier else []
        verdict = self._judge_one(call, evidence, classify)
        call.record(evidence, verdict, earlier)
        if self.gate is not None:
            self.gate.tell(call, evidence, is_refold=verdict.kind is not FailureKind.NOT_REFOLD)
        return verdict

    def _judge_one(self, call: Call, evidence: Evidence, classify: Classifier | None) -> Verdict:
        return judge(
            evidence,
            is_refold=call.is_refold,
            key_may_be_used=call.may_have_used_key,
            conflict_is_duplicate=self._conflict_is_duplicate,
            never_sent=NEVER_SENT,
            classify=classify,
            now=time.time,
        )

    def _delay(self, call: Call, verdict: Verdict) -> float | None:
        """Return the seconds to wait before the next attempt; None to give up."""
        policy = call.policy
        if verdict.kind is None or policy is None or call.interrupted is not None:
            return None
        if isinstance(call.last.error, RefoldError):
            return None
        now = self.life.clock.now()
        is_paused = call.last.status == 429  # with the limiter, where there is one
        if verdict.kind is FailureKind.THROTTLED:
            call.pause_deadline(now)  # it is a pause that is waited out
        delay = policy.decide(
            verdict,
            attempt=call.attempt,
            is_deduplicated=self._may_repeat(call),
            remaining=None if call.deadline == _NEVER else call.deadline - now,
            random=self._jitter,
            uncounted_attempts=min(MAX_UNCOUNTED_THROTTLES, call.throttled) if call.is_patient else 0,
        )
        if delay is None or is_paused or self.budget.try_spend():
            return delay
        logger.info("call %s: the retry budget is spent; attempt %d is the last", call.id, call.attempt)
        return None

    def _may_repeat(self, call: Call) -> bool:
        """Whether an attempt that may have fired may be followed by another, because repeats are dropped."""
        return self._window is not None

    async def _back_off(self, call: Call, delay: float, verdict: Verdict) -> bool:
        """Wait before the next attempt. Returns False if the call was ended meanwhile."""
        if self._hooks is not None:
            self._hooks.retry_scheduled(call, verdict, delay)
        logger.info(
            "call %s (%s, %r): attempt %d ended %s; trying again in %.2f s",
            call.id, call.slug, call.event, call.attempt, verdict.delivery, delay,
        )  # fmt: skip
        call.move(_BACKING_OFF)
        sleep = self._sleep
        if sleep is None:
            import anyio

            sleep = anyio.sleep
        with self.life.scope_of(call) as scope:
            await sleep(delay)
        return call.interrupted is None and scope.cut is None

    def _limiters(self) -> list[PriorityRateLimiter]:
        """Return the limiters that a 429 is told to."""
        own, other = self.limiter, self.life.lane.limiter
        return [other] if own is None or own is other else [own, other]

    async def _throttled(self, call: Call, verdict: Verdict) -> None:
        """Tell the limiters of a 429, then return the slot. A limiter that fails changes nothing.

        Triggers and other requests are paced apart, and pause together: nothing says which of them a 429 was about.
        """
        limiter = self.limiter
        try:
            if limiter is not None:
                logger.info("call %s: 429 (Retry-After: %s); the rate limiter pauses", call.id, verdict.retry_after)
            with self.life.scope_of(call):
                for each in self._limiters():
                    await call_async("the rate limiter's throttled()", each.throttled, verdict.retry_after)
        except RefoldError as error:
            logger.warning("%s; the call goes on", error.message, exc_info=error)
        finally:
            call.release_slot()
        if self._hooks is not None and limiter is not None:
            self._hooks.rate_limit_paused(call, verdict.retry_after)

    # Telling.

    def _report(self, call: Call, evidence: Evidence, verdict: Verdict) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "call %s (%s, %r): attempt %d: %s (%r)",
                call.id, call.slug, call.event, call.attempt, verdict.delivery, evidence,
            )  # fmt: skip
        if self._hooks is not None:
            self._hooks.attempt_finished(call, evidence, verdict, self.life.clock.now() - call.began)

    def _finish(self, call: Call, delivery: Delivery, receipt: Receipt | None, error: RefoldError | None) -> None:
        if error is not None:
            logger.warning(
                "call %s (%s, %r): gave up after %d attempt%s: %s (%s)",
                call.id, call.slug, call.event, call.tried, "" if call.tried == 1 else "s",
                type(error).__name__, delivery,
            )  # fmt: skip
        if self._hooks is not None:
            elapsed = self.life.clock.now() - call.started if call.started else 0.0
            self._hooks.call_finished(call, delivery, elapsed, receipt, error)


_NEVER = float("inf")


def _guarded(classify: Classifier) -> Classifier:
    """Make a user's classifier safe: what it raises or returns amiss is logged, and the default holds."""

    def guarded(status: int, headers: Any) -> Delivery | None:
        override = call_logged("classify", classify, status, headers)
        if override is None or isinstance(override, Delivery):
            return override
        kind = type(override).__name__
        logger.warning("classify returned a %s, which is not a Delivery; the default holds", kind)
        return None

    return guarded
