"""All SQL. Functions take an open transaction, ids and times, and give frozen dataclasses."""
