"""One MQTT session, used by the edge and by the centre."""
