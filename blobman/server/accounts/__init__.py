"""Who may do what, and how much: tokens, the portal they open, quotas, admission."""
