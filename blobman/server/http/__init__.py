"""What a request goes through: connections, requests, bodies, resources, answers."""
