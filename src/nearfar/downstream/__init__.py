"""Down the stream: heads on encoders that are fine-tuned for a task, and what they predict."""
