"""What touches the machine: sockets, serial lines, processes, disks, and the daemons that drive the core with them."""
