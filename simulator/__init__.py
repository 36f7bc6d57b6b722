"""The virtual hall: devices on real ptys and sockets, people, faults, and the demo around them."""
