"""Alerts on their way out: sealed and signed, kept until their receipt, published over MQTT."""
