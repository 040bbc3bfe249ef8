"""Views that fire events and receive Refold's webhooks."""

from __future__ import annotations

import json

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods
from refold_portal import get_refold

from refold_async import RefoldError, WebhookPayloadError, WebhookSignatureError
from refold_async.webhooks import unwrap

from .models import ReceivedWebhook


@csrf_exempt  # here for a short example: your own forms keep their token
@require_http_methods(["POST"])
def create_deal(request: HttpRequest, customer: str) -> HttpResponse:
    """Fire the event and wait for Refold's answer."""
    try:
        receipt = get_refold().trigger(
            "pipedrive", "Deal Created", json.loads(request.body), linked_account_id=customer
        )
    except RefoldError as error:
        return JsonResponse({"error": type(error).__name__, "delivery": error.delivery}, status=502)
    return JsonResponse({"message": receipt.message}, status=201)


@csrf_exempt  # Refold has no token; its signature stands in for one
@require_http_methods(["POST", "PUT", "PATCH"])
def receive(request: HttpRequest) -> HttpResponse:
    """Receive a webhook. Refold takes nothing but 200 for a success."""
    try:
        event = unwrap(request.body, request.headers, key=settings.REFOLD_WEBHOOK_KEYS)
    except WebhookSignatureError:
        return HttpResponse(status=401)
    except WebhookPayloadError:
        return HttpResponse(status=400)
    ReceivedWebhook.objects.get_or_create(dedupe_key=json.dumps(event.dedupe_key), defaults={"event": event.to_dict()})
    return HttpResponse(status=200)
