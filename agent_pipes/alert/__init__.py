"""Alerts: their lines, the alert file, and delivery to a webhook or a program."""
