"""The whole chain: real providers in real terminals, the real daemon, the real relay."""
