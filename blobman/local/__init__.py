"""The encrypted SQLite store on this machine."""
