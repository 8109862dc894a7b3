"""Deployment to a unit over SSH: `python -m unit` with deploy/ on the path; see deploy/README.md."""
