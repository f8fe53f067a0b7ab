"""Telemetry: logs, metrics, and a watch on the event loop."""
