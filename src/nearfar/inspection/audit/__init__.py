"""What may be wrong with data: copies, leaks, foreign samples, wrong labels, classes that are hard to tell apart."""
