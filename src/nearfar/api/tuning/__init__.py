"""What `nearfar tune` is made of: the settings, their short trainings, the search, and what comes of it."""
