"""What people use: client, commands, monitor and command lines."""
