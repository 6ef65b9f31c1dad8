"""The operations, a file an area: each class declares its rows and holds their handlers."""
