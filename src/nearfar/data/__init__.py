"""DATA as a user gives it -> samples: every way to find and read them, and the files of embeddings."""
