"""Pure rules: no clock, no database, no HTTP. Time is an argument."""
