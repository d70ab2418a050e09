"""What any server over HTTP has: who may ask, sockets and signals, pages."""
