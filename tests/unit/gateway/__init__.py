"""HTTP: answers, walls, the description of the API, the dashboard."""
