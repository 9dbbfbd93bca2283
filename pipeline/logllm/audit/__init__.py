"""What left the process: a ledger in which each entry seals the one before, and canaries to see what should not."""
