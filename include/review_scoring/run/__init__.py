"""What one run does: check, plan, read, classify, commit, report. No SQL, no torch, no Airflow."""
