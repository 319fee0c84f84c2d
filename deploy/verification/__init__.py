"""`settler verify`: the log, the read models and Kafka held against each other."""
