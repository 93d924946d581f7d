"""Who may transfer when, and what a transfer does."""
