"""The pages: static files, and the process that serves them. There is no build step; what lies here is what browsers get."""
