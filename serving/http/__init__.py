"""What every request passes: limits, problems, security, metrics and the gunicorn worker."""
