"""A real Apache Kafka in KRaft mode, for what the embedded broker cannot show."""
