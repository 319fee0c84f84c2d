"""An independent reading of the log: does every transaction stand where the log says it does."""
