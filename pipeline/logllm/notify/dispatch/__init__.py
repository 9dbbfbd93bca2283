"""What is told when: grouped, bounded, held, repeated and escalated."""
