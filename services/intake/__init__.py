"""Intake: the only writer of facts. The one rule: it says yes only after the log has acknowledged."""
