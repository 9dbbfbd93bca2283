"""What logllm promises, each with a check that a user can run on a machine of their own against the real program."""
