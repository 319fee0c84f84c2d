"""The Bytewax dataflows: reconcile (Kafka to the store) and publish (the store to Kafka)."""
