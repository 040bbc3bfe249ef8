"""Who signed a webhook."""

from __future__ import annotations

import hashlib
import hmac
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async import ConfigurationError, RefoldError, WebhookSignatureError
from refold_async.webhooks import SIGNATURE_HEADER, _signature, sign, unwrap, verify

from .corpus import BODY, GENUINE, HOSTILE_BODIES, HOSTILE_SIGNATURES, KEY

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda key: bool(key.strip()))


@given(st.binary(), KEYS)
def test_a_signature_is_the_lower_case_hex_hmac_sha256_of_the_body(body: bytes, key: str) -> None:
    assert sign(body, key) == hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    verify(body, sign(body, key), key)


@pytest.mark.parametrize("signature", HOSTILE_SIGNATURES.values(), ids=HOSTILE_SIGNATURES)
def test_a_hostile_signature_is_refused(signature: Any) -> None:
    with pytest.raises(WebhookSignatureError) as caught:
        verify(BODY, signature, KEY)
    assert caught.value.delivery is None
    assert GENUINE not in str(caught.value)
    headers = [(SIGNATURE_HEADER, signature)]
    if not isinstance(signature, list):  # which some frameworks make of a header
        with pytest.raises(WebhookSignatureError):
            unwrap(BODY, headers, key=[KEY])
    with pytest.raises(WebhookSignatureError):
        unwrap(BODY, {SIGNATURE_HEADER: [signature, GENUINE[::-1]]}, key=KEY)


@pytest.mark.parametrize("body", HOSTILE_BODIES.values(), ids=HOSTILE_BODIES)
def test_a_hostile_body_that_is_not_signed_is_refused_for_its_signature(body: bytes) -> None:
    with pytest.raises(WebhookSignatureError):
        unwrap(body, {SIGNATURE_HEADER: GENUINE}, key=KEY)


@given(st.one_of(st.text(), st.binary(), st.none()), st.binary())
def test_no_signature_made_up_fits(signature: Any, body: bytes) -> None:
    with pytest.raises(WebhookSignatureError):
        verify(body, signature, KEY)


@given(st.integers(0, 255), st.integers(0, 7))
def test_one_changed_bit_of_the_signature_is_noticed(position: int, bit: int) -> None:
    changed = bytearray.fromhex(GENUINE)
    changed[position % 32] ^= 1 << bit
    with pytest.raises(WebhookSignatureError):
        verify(BODY, changed.hex(), KEY)


@pytest.mark.parametrize("dress", [str.upper, str.encode, lambda text: f" {text}\t"], ids=["upper", "bytes", "spaces"])
def test_upper_case_bytes_and_outer_spaces_are_accepted(dress: Callable[[str], Any]) -> None:
    verify(BODY, dress(GENUINE), KEY)


@pytest.mark.parametrize("body", ["", BODY.decode(), None, bytearray(BODY), memoryview(BODY), {"event": "x"}])
def test_a_body_that_is_not_bytes_is_a_type_error_of_our_own(body: Any) -> None:
    for call in (
        lambda: verify(body, GENUINE, KEY),
        lambda: unwrap(body, {SIGNATURE_HEADER: GENUINE}, key=KEY),
        lambda: sign(body, KEY),
    ):
        with pytest.raises(TypeError, match="raw body") as caught:
            call()
        assert isinstance(caught.value, RefoldError)
        assert caught.value.delivery is None


@pytest.mark.parametrize("keys", [[KEY, "tk_new"], ("tk_new", KEY), {KEY: 1, "x": 2}.keys(), iter(["tk_new", KEY])])
def test_each_of_several_keys_is_tried(keys: Any) -> None:
    verify(BODY, GENUINE, keys)


def test_all_keys_are_compared_in_constant_time_also_after_one_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(expected: bytes, claimed: bytes) -> bool:
        compared.append((expected, claimed))
        return hmac.compare_digest(expected, claimed)

    class Recorded:
        compare_digest = staticmethod(compare)
        digest = staticmethod(hmac.digest)

    monkeypatch.setattr(_signature, "hmac", Recorded)
    verify(BODY, GENUINE, [KEY, "tk_2", "tk_3"])
    with pytest.raises(WebhookSignatureError):
        verify(BODY, GENUINE, ["tk_2", "tk_3", "tk_4"])
    assert len(compared) == 6
    assert all(isinstance(side, bytes) and len(side) == 32 for pair in compared for side in pair)


@pytest.mark.parametrize("key", ["", "  ", [], (), [KEY, ""], [KEY, None], None, 7, KEY.encode(), "\ud800", [b"k"]])
def test_a_key_that_is_missing_or_blank_is_a_configuration_error(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="key"):
        verify(BODY, GENUINE, key)
    with pytest.raises(ConfigurationError, match="key"):
        unwrap(BODY, {SIGNATURE_HEADER: GENUINE}, key=key)


def test_a_key_read_from_a_file_may_end_in_a_newline() -> None:
    verify(BODY, GENUINE, KEY + "\n")


@pytest.mark.parametrize("key", [KEY, ["tk_wrong", KEY + "x"], [KEY, None], KEY + "\ud800"])
def test_neither_key_nor_expected_signature_is_in_error_traceback_or_pickle(key: Any) -> None:
    body = BODY + b" "
    for call in (
        lambda key: verify(body, GENUINE, key),
        lambda key: unwrap(body, {SIGNATURE_HEADER: GENUINE}, key=key),
        lambda key: sign("text", key),  # type: ignore[arg-type]
    ):
        with pytest.raises(RefoldError) as caught:
            call(key)
        error = caught.value
        assert error.__traceback__ is not None
        assert error.__traceback__.tb_next is not None
        inside = error.__traceback__.tb_next.tb_next  # without the test's own frames, which have the key on purpose
        frames = traceback.TracebackException(type(error), error, inside, capture_locals=True).format()
        shown = "\n".join([repr(error), str(error), *frames, repr(pickle.dumps(error))])
        assert KEY not in shown
        assert sign(body, KEY) not in shown


def test_the_errors_of_webhooks_pickle() -> None:
    with pytest.raises(WebhookSignatureError) as caught:
        verify(BODY, None, KEY)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), copy.delivery) == (WebhookSignatureError, str(caught.value), None)
