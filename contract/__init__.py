"""What crosses the wire between a hall and its centre, and nothing else.

- ``names``: the hall's words as types (identifiers, tiers, ratings, moments)
- ``events``: what happened, one model per event type
- ``commands``: what somebody wants, one model per command, and the named refusals
- ``envelope``: CloudEvents 1.0 in structured JSON around an event
- ``documents``: retained state documents and acknowledgements
- ``topics``: MQTT topics as functions
"""
