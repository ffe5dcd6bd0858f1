"""The thin service around the library: sockets, tasks and time live here and nowhere else."""
