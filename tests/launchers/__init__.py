"""How providers are planned and parsed."""
