"""What is shown: terminal, log lines, HTML report, pictures of the task graph."""
