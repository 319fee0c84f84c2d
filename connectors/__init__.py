"""The only I/O: Kafka, files, Postgres, Redis, and the settings and telemetry they share."""
