"""What others may rely on: events, streams, charters, calendars and law."""
