"""The published model: its page with a card, where it is put, and the demo beside it."""
