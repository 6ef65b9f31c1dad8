"""The only package that knows falcon: routes, shapes, problems, streams, static files."""
