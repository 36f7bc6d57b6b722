"""Where devices and queue meet: a press becomes a command, an event becomes paper, light, text."""
