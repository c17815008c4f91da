"""MQTT: recording messages durably, reading what they mean, publishing results. Nothing else speaks the protocol."""
