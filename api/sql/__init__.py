"""The API's queries, each under its name."""
