"""Export: a bundle as one file for other runtimes, with the preprocessing inside, checked on the user's images."""
