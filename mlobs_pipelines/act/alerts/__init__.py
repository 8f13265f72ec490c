"""Incidents → messages in a durable outbox → Slack, e-mail, PagerDuty, signed webhooks."""
