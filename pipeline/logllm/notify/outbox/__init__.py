"""Messages on the disk until they have arrived, and the threads that send them."""
