"""Encoders in the forms of other libraries: one target, one file, with `write(encoder, folder)`."""
