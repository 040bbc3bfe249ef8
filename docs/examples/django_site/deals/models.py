"""What the site stores."""

from __future__ import annotations

from django.db import models


class ReceivedWebhook(models.Model):
    """A webhook, once: the unique column drops repeats."""

    dedupe_key = models.CharField(max_length=500, unique=True)
    event = models.JSONField()
