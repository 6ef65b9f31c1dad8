"""Handlers: read the request, call one service, render. One file for each area."""
