"""Networks as files for other runtimes, and what makes them smaller there."""
