"""The pages: static files, and the process that serves them. No build step: what lies here is what browsers get."""
