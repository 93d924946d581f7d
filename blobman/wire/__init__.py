"""
What whoever asks over HTTP needs: connections that are kept, TLS that fails closed, the end of
patience, and what went wrong in words.
"""
