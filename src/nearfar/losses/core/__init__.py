"""What losses are made of: checks of their inputs, unit vectors, reductions, distances, labels, index tuples."""
