"""The hall's memory: every event, durable before anybody sees it."""
