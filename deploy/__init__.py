"""Deployment: servers, processes, provisioning, permissions and migrations of one machine."""
