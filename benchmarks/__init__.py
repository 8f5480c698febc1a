"""What ``make bench*`` runs."""
