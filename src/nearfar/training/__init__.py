"""Training: the loop, its clock and order, optimisers, health, checkpoints. Ends at the checkpoint."""
