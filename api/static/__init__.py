"""The pages' files: their own HTML, script and style, nothing from elsewhere."""
