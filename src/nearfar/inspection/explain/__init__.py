"""Why two samples are near: what their parts add to the cosine of their vectors, and how far that can be believed."""
