"""The road walked from end to end; later the paper table by table."""
