"""A file of embeddings as an index: opened without reading it where it is large, searched exactly or by FAISS."""
