"""What several test files share: servers, clients, files and faults; no test."""
